// Checks that torch's operators leave out: of numbers by which they reach into memory.
#pragma once

namespace penstock {

/// Puts operators in the place of torch's that look at such inputs first, and ones that give a copy of a
/// sparse array's indices: nobody may change those once they are checked. For the whole process; once, before
/// any code is read.
void CheckOperators();

}  // namespace penstock
