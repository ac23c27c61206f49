// libpenstock_torch for C++17: a model of the database run in this process. See penstock_torch.h.
//
//     penstock::LocalModel closure(client, "closure");
//     closure({{u.data(), {nx, ny}}}, {{stress.data(), {nx, ny}}});

#ifndef PENSTOCK_TORCH_HPP
#define PENSTOCK_TORCH_HPP

#include "penstock.hpp"
#include "penstock_torch.h"

namespace penstock {

class LocalModel {
 public:
  // Load the version that is live; wait so long for a first one.
  LocalModel(Client& client, const std::string& name, Seconds follow_every = Seconds(1),
             Seconds wait = Seconds(0)) {
    penstock_local_model* made = nullptr;
    const int status =
        penstock_local_open(client.c(), name.c_str(), follow_every.count(), wait.count(), &made);
    if (status) fail(status, name, nullptr);
    name_ = name;
    model_.reset(made);
  }
  // Outputs have the type and shape that the model puts out.
  void operator()(std::initializer_list<Array> inputs, std::initializer_list<Output> outputs) {
    std::vector<penstock_array> from, to;
    for (const auto& array : inputs) from.push_back(array.c());
    for (const auto& array : outputs) to.push_back(array.c());
    check(penstock_local_run(model_.get(), from.data(), static_cast<int>(from.size()), to.data(),
                             static_cast<int>(to.size())));
  }
  // Look now which version is live, load it, and return it.
  std::int64_t refresh() {
    check(penstock_local_refresh(model_.get()));
    return version();
  }
  std::int64_t version() const { return penstock_local_version(model_.get()); }

 private:
  struct Close {
    void operator()(penstock_local_model* model) const { penstock_local_close(model); }
  };
  void check(int status) const {
    if (status) fail(status, name_, model_.get());
  }
  [[noreturn]] static void fail(int status, const std::string& name, const penstock_local_model* model) {
    const auto code = static_cast<penstock_status>(status);
    const std::string text = penstock_local_error(model);
    if (code == PENSTOCK_MODEL_MISSING) throw ModelMissing(code, text, name);
    if (code == PENSTOCK_INFERENCE) throw InferenceFailed(code, text, name);
    if (code == PENSTOCK_TENSOR) throw TensorError(code, text, name);
    if (code == PENSTOCK_UNAVAILABLE) throw DatabaseUnavailable(code, text, name);
    if (code == PENSTOCK_MEMORY) throw std::bad_alloc();
    throw Error(code, text, name);
  }

  std::string name_;
  std::unique_ptr<penstock_local_model, Close> model_;
};

}  // namespace penstock

#endif  // PENSTOCK_TORCH_HPP
