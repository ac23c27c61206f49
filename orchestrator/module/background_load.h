// Loading models and scripts on the loader's threads.
#pragma once

#include <memory>

#include "executable.h"
#include "work_queue.h"

namespace penstock {

/// For the loader; to load right away is LoadInBackground's.
std::unique_ptr<Task> BackgroundLoad(std::shared_ptr<Executable> executable);
void LoadInBackground(std::shared_ptr<Executable> executable);

}  // namespace penstock
