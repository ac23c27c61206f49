// Integer divisions that the processor refuses: by zero, or of the lowest number by -1. On x86 they end the
// process (processors of other kinds refuse none), and programs that others store can contain them (`5 % 0`
// in TorchScript; some kernels of torch do not look at what they divide by).
//
// DESIGN
//   While a DivisionWatch lives, such a division gives 0, as on processors that do not refuse it, and is
//   noted; who has the watch then refuses the whole result. The handler of SIGFPE reads the instruction,
//   clears the registers that it would have written and goes on behind it. A division on a thread without a
//   watch, one of a library's own pool, is noted by all watches there are at that moment. On the main thread
//   without one, and for anything else that raises SIGFPE, whoever handled the signal before does so again.
#pragma once

#include <cstdint>

#include "status.h"

namespace penstock {

/// Lets the watches work. The server puts its own handler back when its configuration changes, so this is
/// called again from time to time. Main thread.
void HandleRefusedDivisions();

class DivisionWatch {
 public:
  DivisionWatch();
  ~DivisionWatch();
  DivisionWatch(const DivisionWatch&) = delete;
  DivisionWatch& operator=(const DivisionWatch&) = delete;
  /// An error once a division has been refused on this thread, or on one of a pool.
  Status Check() const;
  /// Whose it was is not known: another's, it may be.
  bool OnlyElsewhere() const;

 private:
  uint64_t here_;
  uint64_t elsewhere_;
};

}  // namespace penstock
