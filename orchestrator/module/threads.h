// Threads of the module's own.
#pragma once

#include <functional>
#include <string>

namespace penstock {

/// Starts `body` on a detached thread that takes no signals; `name` is what `top -H` shows.
/// Throws std::system_error when the system has no thread to give.
void StartThread(const std::string& name, std::function<void()> body);

}  // namespace penstock
