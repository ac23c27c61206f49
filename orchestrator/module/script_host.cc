#include "script_host.h"

#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "arguments.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"

namespace penstock {
namespace {

using backend::Bytes;
using backend::ReplySink;

Bytes ToBytes(std::string_view text) { return {text.data(), text.size()}; }

// Holds the server's lock, unless the module stops first.
class ServerLock {
 public:
  ServerLock() {
    while (!state().stopping && !locked_) {
      locked_ = redis::ThreadSafeContextTryLock(state().context) == redis::kOk;
      if (!locked_) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  ~ServerLock() {
    if (locked_) redis::ThreadSafeContextUnlock(state().context);
  }
  ServerLock(const ServerLock&) = delete;
  ServerLock& operator=(const ServerLock&) = delete;
  explicit operator bool() const { return locked_; }

 private:
  bool locked_ = false;
};

// `ERR ` in front of a text says nothing to a script.
std::string_view WithoutCode(std::string_view text) {
  return text.substr(0, 4) == "ERR " ? text.substr(4) : text;
}

void Tell(RedisModuleCallReply* reply, ReplySink& to) {
  size_t size = 0;
  int type = redis::CallReplyType(reply);
  if (type == redis::kReplyInteger) return to.Integer(redis::CallReplyInteger(reply));
  if (type == redis::kReplyArray) {
    size_t length = redis::CallReplyLength(reply);
    to.Array(length);
    for (size_t i = 0; i < length; ++i) Tell(redis::CallReplyArrayElement(reply, i), to);
    return;
  }
  if (type != redis::kReplyString && type != redis::kReplyError) return to.Nil();
  const char* text = redis::CallReplyStringPtr(reply, &size);
  if (type == redis::kReplyString) return to.String({text, size});
  while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) --size;
  to.Error(ToBytes(WithoutCode({text, size})));
}

void Call(RedisModuleCtx* context, const std::vector<RedisModuleString*>& words, ReplySink& reply) {
  std::string name(View(words[0]));
  errno = 0;
  auto* answer = redis::Call(context, name.c_str(), "!v", words.data() + 1, words.size() - 1);
  if (answer == nullptr)
    return reply.Error(ToBytes(errno == ENOENT ? "unknown command" : std::strerror(errno)));
  Tell(answer, reply);
  redis::FreeCallReply(answer);
}

}  // namespace

std::string UserName(RedisModuleCtx* context) {
  if (redis::GetCurrentUserName == nullptr) return "";
  RedisModuleString* name = redis::GetCurrentUserName(context);
  std::string text(View(name));
  redis::FreeString(context, name);
  return text;
}

// Under the server's lock. A user who has been removed meanwhile may do nothing.
Status ScriptHost::CheckUser(RedisModuleString** command, size_t count) const {
  if (redis::GetModuleUserFromUserName == nullptr || user_.empty()) return Status::Ok();
  HeldString name = HeldString::Copy(user_);
  RedisModuleUser* user = redis::GetModuleUserFromUserName(name.get());
  errno = 0;
  bool allowed = user != nullptr &&
                 redis::ACLCheckCommandPermissions(user, command, static_cast<int>(count)) == redis::kOk;
  allowed = allowed || (user != nullptr && errno == ENOENT);  // no such command: the call itself says so
  if (user != nullptr) redis::FreeModuleUser(user);
  return allowed ? Status::Ok() : Status::Error("user " + user_ + " may not run this command");
}

void ScriptHost::RunCommand(const Bytes* arguments, size_t count, ReplySink& reply) {
  ServerLock lock;
  if (!lock) return reply.Error(ToBytes("the server is shutting down"));
  Database database(database_);
  std::vector<RedisModuleString*> words;
  for (size_t i = 0; i < count; ++i) {
    words.push_back(redis::CreateString(nullptr, arguments[i].data, arguments[i].size));
  }
  Status allowed = CheckUser(words.data(), words.size());
  if (!allowed.ok()) {
    reply.Error(ToBytes(allowed.text()));
  } else {
    Call(database.context(), words, reply);
  }
  for (RedisModuleString* word : words) redis::FreeString(nullptr, word);
}

void ScriptHost::RunModel(Bytes key, const backend::TensorView* inputs, size_t input_count,
                          size_t output_count, backend::Sink& outputs) {
  Result<ModelPtr> model = Status::Error("the server is shutting down");
  {
    ServerLock lock;
    if (lock) {
      Database database(database_);
      HeldString name = HeldString::Copy({key.data, key.size});
      model = GetModel(database.context(), name.get());
    }
  }
  if (!model.ok()) return outputs.Error(ToBytes(model.status().text()));
  auto program = (*model)->Settle();
  if (!program.ok()) return outputs.Error(ToBytes(program.status().text()));
  backend::Call call{};
  call.inputs = inputs;
  call.input_count = input_count;
  call.output_count = output_count;
  (*program)->Run(call, outputs);
}

}  // namespace penstock
