// The part of the Redis module interface that this module uses, in our own declarations.
//
// DESIGN
//   Redis hands a module one function, the first pointer in the context it passes to RedisModule_OnLoad;
//   every other function is asked for by name. Bind() asks for all of them. The required ones exist since
//   Redis 6.2; the optional ones are null where the server is older. Valkey answers to the same names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "status.h"

struct RedisModuleCtx;
struct RedisModuleKey;
struct RedisModuleString;
struct RedisModuleIO;
struct RedisModuleType;
struct RedisModuleDigest;
struct RedisModuleDefragCtx;
struct RedisModuleBlockedClient;
struct RedisModuleCallReply;
struct RedisModuleInfoCtx;
struct RedisModuleServerInfoData;
struct RedisModuleUser;
struct RedisModuleScanCursor;
struct RedisModuleCommandFilter;
struct RedisModuleCommandFilterCtx;
using RedisModuleTimerID = uint64_t;

namespace penstock::redis {

inline constexpr int kOk = 0;
inline constexpr int kError = 1;
inline constexpr int kApiVersion = 1;
inline constexpr int kRead = 1 << 0;
inline constexpr int kWrite = 1 << 1;
inline constexpr int kKeyEmpty = 0;
inline constexpr int kKeyHash = 3;
inline constexpr int kKeyModule = 6;
inline constexpr int kReplyString = 0;
inline constexpr int kReplyError = 1;
inline constexpr int kReplyInteger = 2;
inline constexpr int kReplyArray = 3;
inline constexpr int kHandleIoErrors = 1 << 0;
inline constexpr int kNotFromOurselves = 1 << 0;  // of RegisterCommandFilter

/// Bits of GetContextFlags.
enum ContextFlag : int {
  kLua = 1 << 0,
  kMulti = 1 << 1,
  kReadOnly = 1 << 4,
  kAppendOnlyFile = 1 << 6,
  kReplicated = 1 << 12,
  kLoading = 1 << 13,
  kDenyBlocking = 1 << 21,
};

struct Event {
  uint64_t id;
  uint64_t version;
};
inline constexpr Event kRoleEvent{0, 1};
inline constexpr Event kClientChangeEvent{4, 1};
inline constexpr uint64_t kClientDisconnected = 1;
inline constexpr Event kShutdownEvent{5, 1};
inline constexpr Event kCronEvent{8, 1};
inline constexpr Event kForkChildEvent{13, 1};
inline constexpr uint64_t kForkChildBorn = 0;
inline constexpr Event kEventLoopEvent{15, 1};  // since Redis 7.0
inline constexpr Event kConfigEvent{16, 1};     // likewise
inline constexpr uint64_t kBeforeSleep = 0;

/// What comes with kClientChangeEvent, as far as we read it.
struct ClientInfo {
  uint64_t version;
  uint64_t flags;
  uint64_t id;
};

using Command = int (*)(RedisModuleCtx*, RedisModuleString**, int);
using BlockedCallback = int (*)(RedisModuleCtx*, RedisModuleString**, int);
using FreePrivateData = void (*)(RedisModuleCtx*, void*);
using DisconnectCallback = void (*)(RedisModuleCtx*, RedisModuleBlockedClient*);
using EventCallback = void (*)(RedisModuleCtx*, Event, uint64_t, void*);
using TimerCallback = void (*)(RedisModuleCtx*, void*);
using ScanCallback = void (*)(RedisModuleCtx*, RedisModuleString*, RedisModuleKey*, void*);
using CommandFilterCallback = void (*)(RedisModuleCommandFilterCtx*);
using InfoCallback = void (*)(RedisModuleInfoCtx*, int);

/// Version 3 of the structure, which every server from 6.2 on understands.
struct TypeMethods {
  uint64_t version = 3;
  void* (*rdb_load)(RedisModuleIO*, int) = nullptr;
  void (*rdb_save)(RedisModuleIO*, void*) = nullptr;
  void (*aof_rewrite)(RedisModuleIO*, RedisModuleString*, void*) = nullptr;
  size_t (*memory_usage)(const void*) = nullptr;
  void (*digest)(RedisModuleDigest*, void*) = nullptr;
  void (*free)(void*) = nullptr;
  int (*aux_load)(RedisModuleIO*, int, int) = nullptr;
  void (*aux_save)(RedisModuleIO*, int) = nullptr;
  int aux_save_triggers = 0;
  size_t (*free_effort)(RedisModuleString*, const void*) = nullptr;
  void (*unlink)(RedisModuleString*, const void*) = nullptr;
  void* (*copy)(RedisModuleString*, RedisModuleString*, const void*) = nullptr;
  int (*defrag)(RedisModuleDefragCtx*, RedisModuleString*, void**) = nullptr;
};

// X(result, name, parameters)
#define PENSTOCK_REDIS_REQUIRED(X)                                                                   \
  X(void*, Alloc, (size_t))                                                                          \
  X(void*, Calloc, (size_t, size_t))                                                                 \
  X(void, Free, (void*))                                                                             \
  X(int, SetModuleAttribs, (RedisModuleCtx*, const char*, int, int))                                 \
  X(int, IsModuleNameBusy, (const char*))                                                            \
  X(void, SetModuleOptions, (RedisModuleCtx*, int))                                                  \
  X(int, CreateCommand, (RedisModuleCtx*, const char*, Command, const char*, int, int, int))         \
  X(RedisModuleType*, CreateDataType, (RedisModuleCtx*, const char*, int, TypeMethods*))             \
  X(void, Log, (RedisModuleCtx*, const char*, const char*, ...))                                     \
  X(int, GetContextFlags, (RedisModuleCtx*))                                                         \
  X(int, GetSelectedDb, (RedisModuleCtx*))                                                           \
  X(int, SelectDb, (RedisModuleCtx*, int))                                                           \
  X(unsigned long long, GetClientId, (RedisModuleCtx*))                                              \
  X(float, GetUsedMemoryRatio, ())                                                                   \
  X(int, AvoidReplicaTraffic, ())                                                                    \
  X(RedisModuleCommandFilter*, RegisterCommandFilter, (RedisModuleCtx*, CommandFilterCallback, int)) \
  X(int, CommandFilterArgsCount, (RedisModuleCommandFilterCtx*))                                     \
  X(const RedisModuleString*, CommandFilterArgGet, (RedisModuleCommandFilterCtx*, int))              \
  X(int, IsKeysPositionRequest, (RedisModuleCtx*))                                                   \
  X(void, KeyAtPos, (RedisModuleCtx*, int))                                                          \
  X(int, ReplyWithError, (RedisModuleCtx*, const char*))                                             \
  X(int, ReplyWithSimpleString, (RedisModuleCtx*, const char*))                                      \
  X(int, ReplyWithStringBuffer, (RedisModuleCtx*, const char*, size_t))                              \
  X(int, ReplyWithLongLong, (RedisModuleCtx*, long long))                                            \
  X(int, ReplyWithDouble, (RedisModuleCtx*, double))                                                 \
  X(int, ReplyWithArray, (RedisModuleCtx*, long))                                                    \
  X(int, ReplyWithNull, (RedisModuleCtx*))                                                           \
  X(int, Replicate, (RedisModuleCtx*, const char*, const char*, ...))                                \
  X(int, ReplicateVerbatim, (RedisModuleCtx*))                                                       \
  X(RedisModuleString*, CreateString, (RedisModuleCtx*, const char*, size_t))                        \
  X(RedisModuleString*, HoldString, (RedisModuleCtx*, RedisModuleString*))                           \
  X(void, FreeString, (RedisModuleCtx*, RedisModuleString*))                                         \
  X(const char*, StringPtrLen, (const RedisModuleString*, size_t*))                                  \
  X(RedisModuleKey*, OpenKey, (RedisModuleCtx*, RedisModuleString*, int))                            \
  X(void, CloseKey, (RedisModuleKey*))                                                               \
  X(int, KeyType, (RedisModuleKey*))                                                                 \
  X(int, DeleteKey, (RedisModuleKey*))                                                               \
  X(RedisModuleType*, ModuleTypeGetType, (RedisModuleKey*))                                          \
  X(void*, ModuleTypeGetValue, (RedisModuleKey*))                                                    \
  X(int, ModuleTypeSetValue, (RedisModuleKey*, RedisModuleType*, void*))                             \
  X(void, SaveUnsigned, (RedisModuleIO*, uint64_t))                                                  \
  X(uint64_t, LoadUnsigned, (RedisModuleIO*))                                                        \
  X(void, SaveSigned, (RedisModuleIO*, int64_t))                                                     \
  X(int64_t, LoadSigned, (RedisModuleIO*))                                                           \
  X(void, SaveStringBuffer, (RedisModuleIO*, const char*, size_t))                                   \
  X(char*, LoadStringBuffer, (RedisModuleIO*, size_t*))                                              \
  X(int, IsIOError, (RedisModuleIO*))                                                                \
  X(void, LogIOError, (RedisModuleIO*, const char*, const char*, ...))                               \
  X(void, EmitAOF, (RedisModuleIO*, const char*, const char*, ...))                                  \
  X(void, DigestAddStringBuffer, (RedisModuleDigest*, unsigned char*, size_t))                       \
  X(void, DigestAddLongLong, (RedisModuleDigest*, long long))                                        \
  X(void, DigestEndSequence, (RedisModuleDigest*))                                                   \
  X(RedisModuleBlockedClient*, BlockClient,                                                          \
    (RedisModuleCtx*, BlockedCallback, BlockedCallback, FreePrivateData, long long))                 \
  X(int, UnblockClient, (RedisModuleBlockedClient*, void*))                                          \
  X(void*, GetBlockedClientPrivateData, (RedisModuleCtx*))                                           \
  X(RedisModuleBlockedClient*, GetBlockedClientHandle, (RedisModuleCtx*))                            \
  X(void, SetDisconnectCallback, (RedisModuleBlockedClient*, DisconnectCallback))                    \
  X(RedisModuleCtx*, GetDetachedThreadSafeContext, (RedisModuleCtx*))                                \
  X(int, ThreadSafeContextTryLock, (RedisModuleCtx*))                                                \
  X(void, ThreadSafeContextUnlock, (RedisModuleCtx*))                                                \
  X(RedisModuleTimerID, CreateTimer, (RedisModuleCtx*, long long, TimerCallback, void*))             \
  X(int, SubscribeToServerEvent, (RedisModuleCtx*, Event, EventCallback))                            \
  X(int, RegisterInfoFunc, (RedisModuleCtx*, InfoCallback))                                          \
  X(int, InfoAddSection, (RedisModuleInfoCtx*, const char*))                                         \
  X(int, InfoAddFieldCString, (RedisModuleInfoCtx*, const char*, const char*))                       \
  X(int, InfoAddFieldLongLong, (RedisModuleInfoCtx*, const char*, long long))                        \
  X(int, InfoAddFieldDouble, (RedisModuleInfoCtx*, const char*, double))                             \
  X(RedisModuleScanCursor*, ScanCursorCreate, ())                                                    \
  X(void, ScanCursorDestroy, (RedisModuleScanCursor*))                                               \
  X(int, Scan, (RedisModuleCtx*, RedisModuleScanCursor*, ScanCallback, void*))                       \
  X(RedisModuleCallReply*, Call, (RedisModuleCtx*, const char*, const char*, ...))                   \
  X(void, FreeCallReply, (RedisModuleCallReply*))                                                    \
  X(int, CallReplyType, (RedisModuleCallReply*))                                                     \
  X(long long, CallReplyInteger, (RedisModuleCallReply*))                                            \
  X(const char*, CallReplyStringPtr, (RedisModuleCallReply*, size_t*))                               \
  X(size_t, CallReplyLength, (RedisModuleCallReply*))                                                \
  X(RedisModuleCallReply*, CallReplyArrayElement, (RedisModuleCallReply*, size_t))

// Since Redis 7.0, or what we can do without.
#define PENSTOCK_REDIS_OPTIONAL(X)                                                                   \
  X(void*, TryAlloc, (size_t))                                                                       \
  X(void, TrimStringAllocation, (RedisModuleString*))                                                \
  X(RedisModuleString*, GetCurrentUserName, (RedisModuleCtx*))                                       \
  X(RedisModuleString*, GetClientUserNameById, (RedisModuleCtx*, uint64_t))                          \
  X(RedisModuleUser*, GetModuleUserFromUserName, (RedisModuleString*))                               \
  X(int, ACLCheckCommandPermissions, (RedisModuleUser*, RedisModuleString**, int))                   \
  X(int, FreeModuleUser, (RedisModuleUser*))                                                         \
  X(RedisModuleServerInfoData*, GetServerInfo, (RedisModuleCtx*, const char*))                       \
  X(const char*, ServerInfoGetFieldC, (RedisModuleServerInfoData*, const char*))                     \
  X(unsigned long long, ServerInfoGetFieldUnsigned, (RedisModuleServerInfoData*, const char*, int*)) \
  X(void, FreeServerInfo, (RedisModuleCtx*, RedisModuleServerInfoData*))

#define PENSTOCK_DECLARE(result, name, parameters) extern result(*name) parameters;
PENSTOCK_REDIS_REQUIRED(PENSTOCK_DECLARE)
PENSTOCK_REDIS_OPTIONAL(PENSTOCK_DECLARE)
#undef PENSTOCK_DECLARE

/// Looks every function up; an error names the first required one that the server does not have.
Status Bind(RedisModuleCtx* context);

}  // namespace penstock::redis
