// libpenstock_torch: a model of the database run in the solver's own process, by libtorch.
//
//     penstock_local_model* closure;
//     if (penstock_local_open(client, "closure", 1.0, 60.0, &closure)) fail(penstock_local_error(NULL));
//     for (...)
//       if (penstock_local_run(closure, &u, 1, &stress, 1)) fail(penstock_local_error(closure));
//     penstock_local_close(closure);
//
// It answers as penstock_infer does, bit by bit with the same torch, without the way to the database. When a
// run comes `follow_every` s after the last look, the database is asked which version is live; another one is
// fetched and loaded within that run.
//
// Models are TorchScript, and run on the CPU, on one thread. `penstock build --local-model` compiles the
// library against the torch that is installed; `penstock flags --local-model` has what a compiler is told.
//
// Errors are those of penstock.h: a call returns 0 or a penstock_status. A model is used by one thread at a
// time, and so is its client, which must live longer. Inputs are copied: a network that writes to its input
// does not write to the solver's array.

#ifndef PENSTOCK_TORCH_H
#define PENSTOCK_TORCH_H

#include "penstock.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct penstock_local_model penstock_local_model;

// Load the version that is live. On failure *model is NULL and penstock_local_error(NULL) has the text.
//   follow_every  s that a run may take for granted what is live; 0: none, INFINITY: until
//                 penstock_local_refresh
//   wait          s to wait for a first version; then PENSTOCK_MODEL_MISSING
PENSTOCK_API int penstock_local_open(penstock_client* client, const char* name, double follow_every,
                                     double wait, penstock_local_model** model);
// NULL is harmless. The client stays.
PENSTOCK_API void penstock_local_close(penstock_local_model* model);

// Run it. A version that is missing, or that torch cannot load, is named once by the run that has looked, and
// the one before goes on answering. So it does while the database is gone: the run succeeds, and
// penstock_local_error says why it could not look.
//   outputs  arrays to be filled, of the dtype and shape that the model puts out
PENSTOCK_API int penstock_local_run(penstock_local_model* model, const penstock_array* inputs, int n_inputs,
                                    const penstock_array* outputs, int n_outputs);

// Look now which version is live, and load it where it is another. Whatever fails, the version before goes on
// answering.
PENSTOCK_API int penstock_local_refresh(penstock_local_model* model);

// The version that answers.
PENSTOCK_API int64_t penstock_local_version(const penstock_local_model* model);

// What went wrong in the last call; NULL: in the last penstock_local_open of this thread.
PENSTOCK_API const char* penstock_local_error(const penstock_local_model* model);

#ifdef __cplusplus
}
#endif

#endif  // PENSTOCK_TORCH_H
