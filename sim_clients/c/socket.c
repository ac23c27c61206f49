// The transports that are sockets: TCP and Unix.
//
// A socket blocks, with the link's patience as its time-outs in the kernel: a small command then costs one
// sendmsg and one recv, and no poll. link.c polls where several links are busy, or part of an answer is
// there.

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

enum { kIdleSeconds = 30, kProbeSeconds = 10, kProbes = 3, kUnacknowledgedMs = 60000 };

// Twice the usual room on its way to a server of this host, which every system allows: the two take turns
// half as often over a large array.
enum { kUnixSendBytes = 212992 };

static int set_option(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value);
}

// Wait until connect() has ended. Returns 0 or an errno.
static int connected(int fd, double deadline) {
  struct pollfd entry = {fd, POLLOUT, 0};
  for (;;) {
    double left = deadline - psk_now();
    if (left <= 0) return ETIMEDOUT;
    int ready = poll(&entry, 1, (int)(left * 1e3) + 1);
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) return errno;
  }
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

// Connect without blocking longer than the deadline, then let the socket block. Returns 0 or an errno.
static int connect_by(int fd, const struct sockaddr* to, socklen_t length, double deadline) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return errno;
  if (connect(fd, to, length) < 0) {
    if (errno == EAGAIN) return EAGAIN;  // the queue of a Unix socket is full
    int error = errno == EINPROGRESS || errno == EINTR ? connected(fd, deadline) : errno;
    if (error) return error;
  }
  return fcntl(fd, F_SETFL, flags) < 0 ? errno : 0;
}

static int opened(psk_link* link, int domain, const struct sockaddr* to, socklen_t length, double deadline) {
  int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = connect_by(fd, to, length, deadline);
  if (error) {
    close(fd);
    return error;
  }
  link->fd = fd;
  return 0;
}

static int open_unix(psk_link* link, double deadline) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (strlen(link->endpoint.host) >= sizeof to.sun_path) return ENAMETOOLONG;
  memcpy(to.sun_path, link->endpoint.host, strlen(link->endpoint.host) + 1);
  int error = opened(link, AF_UNIX, (const struct sockaddr*)&to, sizeof to, deadline);
  if (!error) set_option(link->fd, SOL_SOCKET, SO_SNDBUF, kUnixSendBytes);  // it is told twice as much
  return error;
}

// A host that vanishes without a word is noticed within about a minute.
static void set_tcp_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kIdleSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
}

static int open_tcp(psk_link* link, double deadline) {
  char port[16];
  snprintf(port, sizeof port, "%d", link->endpoint.port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  if (getaddrinfo(link->endpoint.host, port, &hints, &found)) return EHOSTUNREACH;
  int error = EHOSTUNREACH;
  for (struct addrinfo* each = found; each && error; each = each->ai_next) {
    error = opened(link, each->ai_family, each->ai_addr, each->ai_addrlen, deadline);
  }
  freeaddrinfo(found);
  if (!error) set_tcp_options(link->fd);
  return error;
}

static ssize_t socket_send(psk_link* link, const struct iovec* parts, int count, int wait) {
  struct msghdr message = {.msg_iov = (struct iovec*)(uintptr_t)parts, .msg_iovlen = (size_t)count};
  return sendmsg(link->fd, &message, MSG_NOSIGNAL | (wait == PSK_NOW ? MSG_DONTWAIT : 0));
}

static ssize_t socket_receive(psk_link* link, void* to, size_t length, int wait) {
  return recv(link->fd, to, length, wait == PSK_NOW ? MSG_DONTWAIT : wait == PSK_ALL ? MSG_WAITALL : 0);
}

static void socket_close(psk_link* link) { close(link->fd); }

static void socket_patience(psk_link* link, double seconds) {
  struct timeval time = {(time_t)seconds, (suseconds_t)(1e6 * (seconds - (double)(time_t)seconds))};
  if (time.tv_sec == 0 && time.tv_usec == 0) time.tv_usec = 1;  // zero would be for ever
  setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

const psk_transport psk_tcp = {open_tcp, socket_send, socket_receive, socket_close, socket_patience};
const psk_transport psk_unix = {open_unix, socket_send, socket_receive, socket_close, socket_patience};
