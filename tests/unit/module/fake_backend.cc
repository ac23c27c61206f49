// A backend without torch: its models add one to floats, and those whose file is "bad" do not load.
#include <atomic>
#include <cstring>
#include <string>

#include "backend.h"

namespace penstock {
namespace {

using namespace backend;

[[gnu::used]] constexpr char kBuiltFor[] = PENSTOCK_BUILT_FOR "9.9.0";
std::atomic<int> loads = 0;

class AddOne : public Program {
 public:
  void Run(const Call& call, Sink& out) noexcept override {
    for (size_t i = 0; i < call.input_count; ++i) {
      auto* values = static_cast<float*>(call.inputs[i].data);
      for (size_t k = 0; k < call.inputs[i].size / sizeof(float); ++k) values[k] += 1;
      out.Tensor(call.inputs[i]);
    }
  }
  void Inputs(Sink& out) const noexcept override { out.Name({"x", 1}); }
  void Outputs(Sink& out) const noexcept override { out.Name({"y", 1}); }
  bool StraightLine() const noexcept override { return true; }
  uint64_t MemoryBytes() const noexcept override { return static_cast<uint64_t>(loads.load()); }
};

class FakeBackend : public Backend {
 public:
  Program* LoadModel(const ModelSource& source, Sink& out) noexcept override {
    std::string text;
    for (size_t i = 0; i < source.piece_count; ++i) text.append(source.pieces[i].data, source.pieces[i].size);
    if (text == "bad") {
      out.Error({"this is no model", 16});
      return nullptr;
    }
    ++loads;
    return new AddOne;
  }
  Program* CompileScript(const ScriptSource&, Sink&) noexcept override { return new AddOne; }
};

Backend* Open(const Settings&, Sink&) {
  static FakeBackend opened;
  return &opened;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) const penstock::backend::Entry* penstock_backend() {
  static const penstock::backend::Entry entry{penstock::backend::kInterfaceVersion, "9.9.0", penstock::Open};
  return &entry;
}
