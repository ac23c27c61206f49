// Commands of the server's own that a command of ours runs, and what they answer.
//
// DESIGN
//   Words go as an array of strings, changes are replicated as the commands that they are. Main thread only.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "redis_api.h"
#include "status.h"

namespace penstock {

struct FreeAnswer {
  void operator()(RedisModuleCallReply* reply) const { redis::FreeCallReply(reply); }
};
using Answer = std::unique_ptr<RedisModuleCallReply, FreeAnswer>;

/// A command that only reads; an error of the server's is the Status.
Result<Answer> Ask(RedisModuleCtx* context, const char* command, const std::vector<std::string_view>& words);
/// One that writes.
Result<Answer> Change(RedisModuleCtx* context, const char* command,
                      const std::vector<std::string_view>& words);

/// The text of an answer or of an element of it; none where it is nil.
std::optional<std::string> TextOf(RedisModuleCallReply* reply);
/// The elements of an array.
std::vector<std::optional<std::string>> TextsOf(const Answer& answer);
/// An integer, or a text that is one; 0 for all else.
int64_t NumberOf(RedisModuleCallReply* reply);

}  // namespace penstock
