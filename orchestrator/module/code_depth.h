// How deep Python code nests, before torch's compiler goes down into it.
//
// DESIGN
//   The compiler calls itself for what is inside a bracket, behind an operator or in a branch, up to 8 KB of
//   stack for each (torch 2.13, a return in a branch; most take 2). Threads of ours have the room for
//   kDeepestCode of these (threads.h); what is deeper would end the process. An upper bound is counted in one
//   pass, without understanding: in each line the open brackets and the operators since the last comma,
//   in each function the branches and returns.
#pragma once

#include <cstddef>
#include <string_view>

namespace penstock {

inline constexpr size_t kDeepestCode = 10000;

/// At most this deep, whatever the text.
size_t CodeDepth(std::string_view code);
/// The same for the names of types among the texts in a pickle, which torch reads as code too. Other texts
/// count as if they were such, so long ones that are full of brackets are deep.
size_t PickleDepth(std::string_view pickle);

}  // namespace penstock
