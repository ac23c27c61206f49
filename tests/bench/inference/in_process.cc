// The limit of inference: a TorchScript file run by libtorch in this very process, nothing around it.
//
//   in_process FILE DIM...   then lines on stdin: RUNS THREADS
//
// Answers each line with the wall seconds of RUNS runs on an input of ones, shared between THREADS threads,
// each with one intra-op thread; the first line is the sum of the output, so that both sides are known to
// compute the same.
#include <ATen/Parallel.h>
#include <torch/script.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <thread>
#include <vector>

namespace {

void Run(torch::jit::Module& model, const std::vector<torch::jit::IValue>& inputs, long runs) {
  torch::InferenceMode inference;
  at::set_num_threads(1);
  for (long i = 0; i < runs; ++i) model.forward(inputs);
}

double Seconds(torch::jit::Module& model, const std::vector<torch::jit::IValue>& inputs, long runs,
               long threads) {
  auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (long i = 1; i < threads; ++i) others.emplace_back([&] { Run(model, inputs, runs / threads); });
  Run(model, inputs, runs - (threads - 1) * (runs / threads));
  for (auto& other : others) other.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<int64_t> dims;
  for (int i = 2; i < argc; ++i) dims.push_back(std::atoll(argv[i]));
  at::set_num_threads(1);
  auto model = torch::jit::load(argv[1]);
  model.eval();
  std::vector<torch::jit::IValue> inputs{torch::ones(dims)};
  Run(model, inputs, 20);  // the profiling executor needs a few runs before it is as fast as it will be
  std::cout << model.forward(inputs).toTensor().sum().item<double>() << std::endl;
  for (long runs = 0, threads = 0; std::cin >> runs >> threads;) {
    std::printf("%.9f\n", Seconds(model, inputs, runs, threads));
    std::fflush(stdout);
  }
}
