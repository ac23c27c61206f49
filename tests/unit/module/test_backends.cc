#include <cstdio>
#include <filesystem>
#include <fstream>

#include "backends.h"
#include "check.h"
#include "loading.h"

using namespace penstock;
using penstock::test::Text;

namespace {

Options Fake() {
  Options options;
  options.torch_backend = FAKE_BACKEND;
  return options;
}

ModelPtr ModelOf(Backends* backends, const char* file, ModelPtr before = nullptr) {
  auto definition = std::make_shared<ModelDefinition>();
  definition->pieces = {CopyBytes(file)};
  return NewModel(backends, definition, std::move(before));
}

bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

void ABackendThatIsNotThereIsNamed() {
  Options options;
  options.torch_backend = "/nowhere/backend_torch.so";
  Backends backends(options, "/");
  CHECK(Has(Text(backends.Torch()), "/nowhere/backend_torch.so"));
}

void ABackendForAnotherTorchIsRefusedWithBothVersions() {
  Options options = Fake();
  options.torch_version = "2.13.0+cpu";
  Backends backends(options, "/");
  std::string text = Text(backends.Torch());
  CHECK(Has(text, "9.9.0") && Has(text, "2.13.0+cpu"));
  CHECK(backends.torch_version() == nullptr);
}

void AFileThatIsNoBackendIsRefused() {
  std::string path = std::string(FAKE_BACKEND) + ".txt";
  std::ofstream(path) << "not a library";
  Options options;
  options.torch_backend = path;
  Backends backends(options, "/");
  CHECK_EQUAL(Text(backends.Torch()), path + " is not a Penstock backend");
  std::remove(path.c_str());
}

void LibrariesThatAreNotThereAreNamed() {
  Options options = Fake();
  options.torch_libraries = "/nowhere";
  Backends backends(options, "/");
  CHECK(Has(Text(backends.Torch()), "/nowhere/libtorch_cpu.so"));
}

void TheLocalPartOfAVersionDoesNotMatter() {
  Options options = Fake();
  options.torch_version = "9.9.0+cu126";
  Backends backends(options, "/");
  CHECK_EQUAL(Text(backends.Torch()), "ok");
  CHECK_EQUAL(std::string(backends.torch_version()), "9.9.0");
}

void OpeningAnotherOneLaterIsRefused() {
  Backends backends(Fake(), "/");
  CHECK_EQUAL(backends.OpenTorchAt(FAKE_BACKEND).ok(), true);
  CHECK_EQUAL(backends.OpenTorchAt(FAKE_BACKEND).text(), "backend TORCH is already loaded");
}

void OnlyTheFileGivenAtLoadIsOpened() {
  Backends backends(Fake(), "/");
  std::string other = std::string(FAKE_BACKEND) + ".copy.so";
  std::filesystem::copy_file(FAKE_BACKEND, other);
  std::string text = backends.OpenTorchAt(other).text();
  std::filesystem::remove(other);
  CHECK(Has(text, other.c_str()) && Has(text, FAKE_BACKEND));
  CHECK(backends.torch_version() == nullptr);
  std::string around = std::string("..") + FAKE_BACKEND;
  CHECK(backends.OpenTorchAt(around).ok());
}

void OnlyTheFolderGivenAtLoadIsOne() {
  Options options;
  options.backends_path = "/somewhere/here";
  Backends backends(options, "/");
  CHECK_EQUAL(backends.folder(), "/somewhere/here");
  for (const char* same : {"/somewhere/here", "/somewhere/here/", "/somewhere/there/../here", "."})
    CHECK(backends.CheckFolder(same).ok());
  for (const char* other : {"/somewhere", "/somewhere/her", "/somewhere/here/below", "/", "..", "below"})
    CHECK(Has(backends.CheckFolder(other).text(), other));
}

void ABadModelSaysWhy() {
  Backends backends(Fake(), "/");
  auto model = ModelOf(&backends, "bad");
  CHECK_EQUAL(Text(model->Settle()), "this is no model");
  CHECK(model->program() == nullptr);
}

void TheSameFileIsLoadedOnce() {
  Backends backends(Fake(), "/");
  auto first = ModelOf(&backends, "good");
  auto again = ModelOf(&backends, "good", first);
  auto other = ModelOf(&backends, "better", again);
  auto program = again->Settle();
  CHECK(program.ok() && *program == *first->Settle());
  CHECK(*other->Settle() != *program);
  CHECK_EQUAL(other->InputNames()[0], "x");
}

void AModelOfAnotherBackendIsRefused() {
  Backends backends(Fake(), "/");
  auto definition = std::make_shared<ModelDefinition>();
  definition->backend = BackendKind::kOnnx;
  CHECK(Has(Text(NewModel(&backends, definition, nullptr)->Settle()), "ONNX"));
}

}  // namespace

int main() {
  ABackendThatIsNotThereIsNamed();
  ABackendForAnotherTorchIsRefusedWithBothVersions();
  AFileThatIsNoBackendIsRefused();
  LibrariesThatAreNotThereAreNamed();
  TheLocalPartOfAVersionDoesNotMatter();
  OpeningAnotherOneLaterIsRefused();
  OnlyTheFileGivenAtLoadIsOpened();
  OnlyTheFolderGivenAtLoadIsOne();
  ABadModelSaysWhy();
  TheSameFileIsLoadedOnce();
  AModelOfAnotherBackendIsRefused();
  return penstock::test::Report();
}
