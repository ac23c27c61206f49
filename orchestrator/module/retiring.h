// Large values that were replaced or deleted, on their way out.
//
// DESIGN
//   To give hundreds of megabytes back takes the system milliseconds, in which the main thread would answer
//   nobody. What a store replaces and what our own commands delete is therefore kept here until the server's
//   next cron, and then dropped by a loader. Not at once: until a transaction or command is over,
//   and has been sent to replicas, its arguments may still be read, and dropping a model's file discards
//   their pages (see FileBuffer). What Redis itself drops (DEL, eviction, expiry) is not kept: an eviction
//   measures the memory that a deletion frees.
#pragma once

#include <memory>

namespace penstock {

/// Keeps the last hold on a value for a moment. Main thread.
void Retire(std::shared_ptr<const void> value);
/// From the cron: hands what was retired before it to the loader.
void DropRetired();

}  // namespace penstock
