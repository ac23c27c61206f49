// The C++ wrapper of models in this process. Arguments: two files of models, float32 (rows, 4) to the same.

#include <fstream>
#include <iostream>
#include <iterator>
#include <penstock_torch.hpp>

namespace {

void Expect(bool truth, const char* what) {
  if (truth) return;
  std::cerr << what << "\n";
  std::exit(1);
}

template <class Kind, class Work>
void Refused(const char* part, Work work) {
  try {
    work();
  } catch (const Kind& error) {
    if (std::string(error.what()).find(part) != std::string::npos && error.subject() == "net") return;
    std::cerr << error.what() << "\n";
  }
  Expect(false, part);
}

std::string Read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

}  // namespace

int main(int, char** argv) {
  penstock::Client client;
  Refused<penstock::ModelMissing>("no model 'net' yet", [&] { penstock::LocalModel(client, "net"); });
  client.put_model("net", Read(argv[1]), 1);
  penstock::LocalModel model(client, "net", penstock::Seconds(1e9));
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8}, here(8), there(8);
  for (std::int64_t version = 1; version <= 2; version++) {
    Expect(model.refresh() == version, "version");
    model({{x.data(), {2, 4}}}, {{here.data(), {2, 4}}});
    client.infer("net", {{x.data(), {2, 4}}}, {{there.data(), {2, 4}}});
    Expect(here == there, "the numbers of the database");
    if (version == 1) client.put_model("net", Read(argv[2]), 2);
  }
  Refused<penstock::InferenceFailed>("cannot be multiplied",
                                     [&] { model({{x.data(), {4, 2}}}, {{here.data(), {2, 4}}}); });
  Refused<penstock::TensorError>("to be filled is float32 (8,)",
                                 [&] { model({{x.data(), {2, 4}}}, {{here.data(), {8}}}); });
}
