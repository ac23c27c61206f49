#include "commands_within.h"

#include "arguments.h"
#include "held_string.h"

namespace penstock {
namespace {

Result<Answer> Run(RedisModuleCtx* context, const char* command, const char* format,
                   const std::vector<std::string_view>& words) {
  std::vector<HeldString> held;
  std::vector<RedisModuleString*> arguments;
  held.reserve(words.size());
  for (std::string_view word : words) arguments.push_back(held.emplace_back(HeldString::Copy(word)).get());
  Answer answer(redis::Call(context, command, format, arguments.data(), arguments.size()));
  if (answer == nullptr) return Status::Error(std::string("the server does not run ") + command);
  if (redis::CallReplyType(answer.get()) != redis::kReplyError) return answer;
  std::string text = TextOf(answer.get()).value_or("");
  size_t space = text.find(' ');
  if (space == std::string::npos) return Status::Error(text);
  return Status::Coded(text.substr(0, space), text.substr(space + 1));
}

}  // namespace

Result<Answer> Ask(RedisModuleCtx* context, const char* command, const std::vector<std::string_view>& words) {
  return Run(context, command, "v", words);
}

Result<Answer> Change(RedisModuleCtx* context, const char* command,
                      const std::vector<std::string_view>& words) {
  return Run(context, command, "v!", words);
}

std::optional<std::string> TextOf(RedisModuleCallReply* reply) {
  size_t size = 0;
  const char* text = reply == nullptr ? nullptr : redis::CallReplyStringPtr(reply, &size);
  if (text == nullptr) return std::nullopt;
  return std::string(text, size);
}

std::vector<std::optional<std::string>> TextsOf(const Answer& answer) {
  std::vector<std::optional<std::string>> texts;
  if (redis::CallReplyType(answer.get()) != redis::kReplyArray) return texts;
  size_t length = redis::CallReplyLength(answer.get());
  texts.reserve(length);
  for (size_t i = 0; i < length; ++i) texts.push_back(TextOf(redis::CallReplyArrayElement(answer.get(), i)));
  return texts;
}

int64_t NumberOf(RedisModuleCallReply* reply) {
  if (reply == nullptr) return 0;
  if (redis::CallReplyType(reply) == redis::kReplyInteger) return redis::CallReplyInteger(reply);
  return ParseInteger(TextOf(reply).value_or("")).value_or(0);
}

}  // namespace penstock
