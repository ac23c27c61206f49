#include "backend_torch_bounds.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/thread_pool.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/custom_operator.h>

#include "backend_torch_graph.h"

namespace penstock {
namespace {

using torch::jit::Node;

thread_local backend::Canceler* running = nullptr;

// In the words of onnxruntime, which clients know.
void StopIfCanceled() {
  TORCH_CHECK(running == nullptr || !running->Canceled(), "Exiting due to terminate flag being set to true");
}

class BoundedAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    StopIfCanceled();
    void* memory = bytes == 0 ? nullptr : AllocateBounded(bytes);
    return {memory, memory, ReleaseBounded, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return ReleaseBounded; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

constexpr char kProceed[] = "penstock::proceed";

void RegisterProceed() {
  static auto* registered = new torch::jit::RegisterOperators({torch::jit::Operator(
      std::string(kProceed) + "() -> ()", [](torch::jit::Stack&) { StopIfCanceled(); },
      c10::AliasAnalysisKind::CONSERVATIVE)});
  (void)registered;
}

c10::Symbol Proceed() {
  static const c10::Symbol symbol = c10::Symbol::fromQualString(kProceed);
  return symbol;
}

// A frozen module is made in the compilation unit of the one it was made from.
bool IsGuarded(const Node* loop) {
  const auto body = loop->blocks()[0]->nodes();
  return body.begin() != body.end() && (*body.begin())->kind() == Proceed();
}

void GuardLoop(Node* node) {
  if (node->kind() != c10::prim::Loop || IsGuarded(node)) return;
  node->blocks()[0]->prependNode(node->owningGraph()->create(Proceed(), 0));
}

// Runs on the spot what torch.jit.fork gives to torch's threads. Those would be at no run: not told to end,
// counted nowhere, and left alone by a run that does not wait for them.
class OnTheSpot : public c10::TaskThreadPoolBase {
 public:
  void run(std::function<void()> forked) override {
    constexpr int kDeepest = 100;
    thread_local int depth = 0;
    TORCH_CHECK(depth < kDeepest, "torch.jit.fork goes more than ", kDeepest, " deep");
    ++depth;
    forked();  // throws nothing: what was forked keeps its error for whoever waits
    --depth;
  }
  size_t size() const override { return 1; }
  size_t numAvailable() const override { return 1; }
  bool inThreadPool() const override { return false; }
};

std::shared_ptr<c10::TaskThreadPoolBase> MakeOnTheSpot(int, int, bool) {
  return std::make_shared<OnTheSpot>();
}

}  // namespace

void InstallTorchAllocator(const backend::Settings& settings) {
  InstallMemory("Torch", settings);
  static auto* allocator = new BoundedAllocator;  // arrays outlive everything here
  constexpr uint8_t kAboveTorchsOwn = 1;
  c10::SetCPUAllocator(allocator, kAboveTorchsOwn);
}

void ForkOnTheSpot() { c10::ThreadPoolRegistry()->Register("C10", MakeOnTheSpot, c10::REGISTRY_PREFERRED); }

RunningCall::RunningCall(const backend::Call& call) : budget_(call), before_(running) {
  running = call.canceler;
}

RunningCall::~RunningCall() { running = before_; }

void GuardLoops(const torch::jit::CompilationUnit& unit) {
  RegisterProceed();
  EachNode(unit, GuardLoop);
}

}  // namespace penstock
