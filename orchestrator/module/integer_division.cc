#include "integer_division.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>

namespace penstock {
namespace {

// Read and written by a handler that interrupts the thread itself.
[[gnu::tls_model("initial-exec")]] thread_local volatile int watches_here = 0;  // found without allocating
[[gnu::tls_model("initial-exec")]] thread_local volatile uint64_t refused_here = 0;
std::atomic<int> watches = 0;
std::atomic<uint64_t> refused_elsewhere = 0;
std::atomic<const struct sigaction*> before = nullptr;

#if defined(__x86_64__)

// The bytes behind a ModRM byte that belong to its operand.
size_t OperandBytes(const uint8_t* modrm) {
  unsigned mode = *modrm >> 6;
  unsigned register_or_memory = *modrm & 7u;
  if (mode == 3) return 0;
  bool scaled = register_or_memory == 4;  // another byte tells base and index
  bool no_base = mode == 0 && (scaled ? (modrm[1] & 7u) == 5 : register_or_memory == 5);
  size_t offset = mode == 1 ? 1 : mode == 2 || no_base ? 4 : 0;
  return (scaled ? 1 : 0) + offset;
}

// Skips `div` or `idiv` and writes 0 for quotient and remainder; false when the instruction is another.
bool DivideToZero(ucontext_t* context) {
  auto& registers = context->uc_mcontext.gregs;
  const auto* at = reinterpret_cast<const uint8_t*>(registers[REG_RIP]);
  bool short_words = false;
  constexpr int kMostPrefixes = 4;
  for (int i = 0; i < kMostPrefixes && (*at == 0x66 || *at == 0x67 || *at == 0x2e || *at == 0x64); ++i) {
    short_words = short_words || *at == 0x66;
    ++at;
  }
  bool wide = (*at & 0xf8) == 0x48;
  if ((*at & 0xf0) == 0x40) ++at;
  bool bytes = *at == 0xf6;
  if (!bytes && *at != 0xf7) return false;
  const uint8_t* modrm = at + 1;
  unsigned operation = (*modrm >> 3) & 7u;
  if (operation != 6 && operation != 7) return false;
  constexpr greg_t kUpper = ~static_cast<greg_t>(0xffff);
  greg_t kept = bytes || (short_words && !wide) ? kUpper : 0;  // a result of 32 bits clears the upper half
  registers[REG_RAX] &= kept;
  if (!bytes) registers[REG_RDX] &= kept;
  registers[REG_RIP] = reinterpret_cast<greg_t>(modrm + 1 + OperandBytes(modrm));
  return true;
}

#else

bool DivideToZero(ucontext_t*) { return false; }

#endif

// The main thread, that of a forked child as well, computes for others than programs too.
bool IsMainThread() { return syscall(SYS_gettid) == getpid(); }

void OnSignal(int, siginfo_t* info, void* context) {
  bool division = info->si_code == FPE_INTDIV || info->si_code == FPE_INTOVF;
  bool watched = watches_here > 0 || (watches > 0 && !IsMainThread());
  if (division && watched && DivideToZero(static_cast<ucontext_t*>(context))) {
    if (watches_here > 0) {
      refused_here = refused_here + 1;
    } else {
      ++refused_elsewhere;
    }
    return;
  }
  // The instruction is tried again, now with the former handler; what was sent from outside is sent again.
  sigaction(SIGFPE, before.load(), nullptr);
  if (info->si_code <= 0) raise(SIGFPE);
}

}  // namespace

void HandleRefusedDivisions() {
  struct sigaction now{};
  sigaction(SIGFPE, nullptr, &now);
  bool ours = (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == OnSignal;
  if (ours) return;
  const struct sigaction* known = before;
  bool same = known != nullptr && known->sa_sigaction == now.sa_sigaction && known->sa_flags == now.sa_flags;
  if (!same) before = new struct sigaction(now);  // never freed: a handler may be reading the last one
  struct sigaction handler{};
  handler.sa_sigaction = OnSignal;
  handler.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&handler.sa_mask);
  sigaction(SIGFPE, &handler, nullptr);
}

DivisionWatch::DivisionWatch() : here_(refused_here), elsewhere_(refused_elsewhere) {
  watches_here = watches_here + 1;
  ++watches;
}

DivisionWatch::~DivisionWatch() {
  --watches;
  watches_here = watches_here - 1;
}

bool DivisionWatch::OnlyElsewhere() const { return refused_here == here_ && refused_elsewhere != elsewhere_; }

Status DivisionWatch::Check() const {
  if (refused_here == here_ && refused_elsewhere == elsewhere_) return Status::Ok();
  return Status::Error("an integer was divided by zero, or the lowest one by -1");
}

}  // namespace penstock
