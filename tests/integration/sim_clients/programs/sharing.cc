// Puts and maps through shared memory as a solver in C++ does; test_solvers.py says what it must leave.

#include <cstdlib>
#include <iostream>
#include <penstock.hpp>
#include <string>
#include <utility>

namespace {

constexpr int kNx = 200, kNy = 300;

void Expect(bool true_, const std::string& what) {
  if (true_) return;
  std::cerr << "not as expected: " << what << "\n";
  std::exit(1);
}

}  // namespace

int main() {
  penstock::Client client;
  Expect(client.transport() == "shared memory", client.transport());
  for (int step = 0; step < 3; step++) {
    auto u = client.lease<double>({kNx, kNy});
    Expect(u.is_shared() && u.size() == kNx * kNy, "a lease");
    for (std::size_t i = 0; i < u.size(); i++) u[i] = step + static_cast<double>(i);
    client.put_snapshot(step, {{"u", u.array()}});
  }
  auto u = client.lease<float>({kNx, kNy});
  for (auto& value : u) value = 7;
  client.put_tensor("own", u.array());
  auto mapped = client.map_tensor<float>("own");
  Expect(mapped.is_shared() && mapped.data() == u.data() && mapped[kNx] == 7.0f, "a mapping");
  Expect(mapped.dims() == penstock::Dims(kNx, kNy), "its shape");
  try {
    client.map_tensor<double>("own");
    Expect(false, "another type");
  } catch (const penstock::TensorError& error) {
    Expect(std::string(error.what()) == "own is float32, not float64", error.what());
  }
  client.delete_tensor("own");
  auto kept = std::move(mapped);
  Expect(kept[1] == 7.0f, "a mapping whose key is gone");
  std::cout << "everything was as it must be\n";
}
