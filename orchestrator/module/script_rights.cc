#include "script_rights.h"

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "held_string.h"
#include "reply.h"

namespace penstock {
namespace {

bool ServerChecks() { return redis::GetModuleUserFromUserName != nullptr; }

class CallReply {
 public:
  explicit CallReply(RedisModuleCallReply* reply) : reply_(reply) {}
  ~CallReply() {
    if (reply_ != nullptr) redis::FreeCallReply(reply_);
  }
  CallReply(const CallReply&) = delete;
  CallReply& operator=(const CallReply&) = delete;
  RedisModuleCallReply* get() const { return reply_; }

 private:
  RedisModuleCallReply* reply_;
};

RedisModuleCallReply* Element(RedisModuleCallReply* reply, size_t index) {
  bool is_array = reply != nullptr && redis::CallReplyType(reply) == redis::kReplyArray;
  return is_array ? redis::CallReplyArrayElement(reply, index) : nullptr;
}

bool Has(RedisModuleCallReply* words, std::string_view word) {
  for (size_t i = 0; RedisModuleCallReply* element = Element(words, i); ++i) {
    size_t size = 0;
    const char* text = redis::CallReplyStringPtr(element, &size);
    if (text != nullptr && std::string_view(text, size) == word) return true;
  }
  return false;
}

Status Refusal(const std::string& user) {
  return Status::Error("user " + user + " may not run this command");
}

// Reads what other keys hold, by names that no access list sees.
bool ReadsByPattern(const std::vector<RedisModuleString*>& command) {
  std::string name = UpperCase(View(command[0]));
  if (name != "SORT" && name != "SORT_RO") return false;
  for (RedisModuleString* word : command) {
    std::string text = UpperCase(View(word));
    if (text == "BY" || text == "GET") return true;
  }
  return false;
}

// A user who has been removed meanwhile may do nothing.
Status AskServer(const std::string& user_name, std::vector<RedisModuleString*>& command) {
  if (ReadsByPattern(command)) return Status::Error("SORT with BY or GET is not allowed in scripts");
  HeldString name = HeldString::Copy(user_name);
  RedisModuleUser* user = redis::GetModuleUserFromUserName(name.get());
  if (user == nullptr) return Refusal(user_name);
  errno = 0;
  bool allowed =
      redis::ACLCheckCommandPermissions(user, command.data(), static_cast<int>(command.size())) == redis::kOk;
  allowed = allowed || errno == ENOENT;  // no such command: the call itself says so
  redis::FreeModuleUser(user);
  return allowed ? Status::Ok() : Refusal(user_name);
}

bool MayDoEverything(RedisModuleCtx* context, const std::string& user) {
  CallReply facts(redis::Call(context, "ACL", "cb", "GETUSER", user.data(), user.size()));
  RedisModuleCallReply* flags = Element(facts.get(), 1);
  return Has(flags, "allkeys") && Has(flags, "allcommands");
}

}  // namespace

std::string UserName(RedisModuleCtx* context) {
  RedisModuleString* name = nullptr;
  if (redis::GetCurrentUserName != nullptr) {
    name = redis::GetCurrentUserName(context);
  } else if (redis::GetClientUserNameById != nullptr) {
    name = redis::GetClientUserNameById(context, redis::GetClientId(context));
  }
  if (name == nullptr) return "";
  std::string text(View(name));
  redis::FreeString(context, name);
  return text;
}

Status MayCall(RedisModuleCtx* context, const std::string& user, std::vector<RedisModuleString*>& command) {
  if (ServerChecks()) return AskServer(user, command);
  if (MayDoEverything(context, user)) return Status::Ok();
  return Status::Error("user " + user +
                       " may not run this command from a script: before Redis 7 only a user who may run "
                       "every command on every key may");
}

// What Redis 7 asks of a command in script mode.
Status FitsScripts(RedisModuleCtx* context, RedisModuleString* command) {
  if (ServerChecks()) return Status::Ok();
  CallReply facts(redis::Call(context, "COMMAND", "cs", "INFO", command));
  RedisModuleCallReply* marks = Element(Element(facts.get(), 0), 2);
  if (Has(marks, "noscript"))
    return Status::Error("command '" + std::string(View(command)) + "' is not allowed in scripts");
  if (Has(marks, "denyoom") && redis::GetUsedMemoryRatio() > 1)
    return Status::OutOfMemory("command not allowed when used memory > 'maxmemory'.");
  return Has(marks, "write") ? RefuseOnReplica(context) : Status::Ok();
}

// Nothing that scripts may not call (S), no more memory than there is (M). Not errors as replies (E): clients
// know the texts of errno.
const char* CallFormat() { return ServerChecks() ? "!SMv" : "!v"; }

std::string WhyNotCalled(int error) {
  if (error == ENOENT) return "unknown command";
  if (error == ESPIPE) return "the command is not allowed in scripts";
  if (error == ENOSPC)
    return "the command is not allowed now: memory above maxmemory, or nothing can be saved";
  return std::strerror(error);
}

}  // namespace penstock
