#include <cstdio>
#include <cstdlib>
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
  options.engine(Engine::kTorch).backend = FAKE_BACKEND;
  return options;
}

ModelPtr ModelOf(Backends* backends, const char* file, ModelPtr before = nullptr) {
  auto definition = std::make_shared<ModelDefinition>();
  definition->file->Add(CopyBytes(file));
  return NewModel(backends, definition, std::move(before));
}

bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

void ABackendThatIsNotThereIsNamed() {
  Options options;
  options.engine(Engine::kTorch).backend = "/nowhere/backend_torch.so";
  Backends backends(options, "/");
  CHECK(Has(Text(backends.Open(Engine::kTorch)), "/nowhere/backend_torch.so"));
}

void ABackendForAnotherTorchIsRefusedWithBothVersions() {
  Options options = Fake();
  options.engine(Engine::kTorch).version = "2.13.0+cpu";
  Backends backends(options, "/");
  std::string text = Text(backends.Open(Engine::kTorch));
  CHECK(Has(text, "9.9.0") && Has(text, "2.13.0+cpu"));
  CHECK(backends.version(Engine::kTorch) == nullptr);
}

void AFileThatIsNoBackendIsRefused() {
  std::string path = std::string(FAKE_BACKEND) + ".txt";
  std::ofstream(path) << "not a library";
  Options options;
  options.engine(Engine::kTorch).backend = path;
  Backends backends(options, "/");
  CHECK_EQUAL(Text(backends.Open(Engine::kTorch)), path + " is not a Penstock backend");
  std::remove(path.c_str());
}

void LibrariesThatAreNotThereAreNamed() {
  Options options = Fake();
  options.engine(Engine::kTorch).libraries = "/nowhere";
  Backends backends(options, "/");
  CHECK(Has(Text(backends.Open(Engine::kTorch)), "/nowhere/libtorch_cpu.so"));
}

void TheLocalPartOfAVersionDoesNotMatter() {
  Options options = Fake();
  options.engine(Engine::kTorch).version = "9.9.0+cu126";
  Backends backends(options, "/");
  CHECK_EQUAL(Text(backends.Open(Engine::kTorch)), "ok");
  CHECK_EQUAL(std::string(backends.version(Engine::kTorch)), "9.9.0");
}

void OpeningAnotherOneLaterIsRefused() {
  Backends backends(Fake(), "/");
  CHECK_EQUAL(backends.OpenAt(BackendKind::kTorch, FAKE_BACKEND).ok(), true);
  CHECK_EQUAL(backends.OpenAt(BackendKind::kTorch, FAKE_BACKEND).text(), "backend TORCH is already loaded");
}

void OnlyTheFileGivenAtLoadIsOpened() {
  Backends backends(Fake(), "/");
  std::string other = std::string(FAKE_BACKEND) + ".copy.so";
  std::filesystem::copy_file(FAKE_BACKEND, other);
  std::string text = backends.OpenAt(BackendKind::kTorch, other).text();
  std::filesystem::remove(other);
  CHECK(Has(text, other.c_str()) && Has(text, FAKE_BACKEND));
  CHECK(backends.version(Engine::kTorch) == nullptr);
  std::string around = std::string("..") + FAKE_BACKEND;
  CHECK(backends.OpenAt(BackendKind::kTorch, around).ok());
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

void AMissingPackageIsNamedWithTheWayOut() {
  Backends backends(Fake(), "/nowhere");
  for (auto kind : {BackendKind::kOnnx, BackendKind::kTensorflow, BackendKind::kTflite}) {
    auto definition = std::make_shared<ModelDefinition>();
    definition->backend = kind;
    std::string text = Text(NewModel(&backends, definition, nullptr)->Settle());
    CHECK(Has(text, "/nowhere/backend_openvino.so") && Has(text, "pip install openvino"));
  }
  CHECK_EQUAL(Text(backends.For(BackendKind::kTorch)), "ok");
}

void OnnxGoesWhereItIsSentOrWhereThereIsABackend() {
  Options options = Fake();
  CHECK(Backends(options, "/nowhere").EngineFor(BackendKind::kOnnx) == Engine::kOpenvino);
  options.engine(Engine::kOnnxruntime).backend = FAKE_BACKEND;
  CHECK(Backends(options, "/nowhere").EngineFor(BackendKind::kOnnx) == Engine::kOnnxruntime);
  CHECK(Backends(options, "/nowhere").EngineFor(BackendKind::kTflite) == Engine::kOpenvino);
  options.engine(Engine::kOpenvino).backend = FAKE_BACKEND;
  CHECK(Backends(options, "/nowhere").EngineFor(BackendKind::kOnnx) == Engine::kOpenvino);
  options.onnx_engine = Engine::kOnnxruntime;
  CHECK(Backends(options, "/nowhere").EngineFor(BackendKind::kOnnx) == Engine::kOnnxruntime);
}

void KindsThatShareAFileAreOpenedEachInItsName() {
  Options options;
  options.engine(Engine::kOpenvino).backend = FAKE_BACKEND;
  Backends backends(options, "/");
  CHECK(backends.version(Engine::kOpenvino) == nullptr);
  for (auto kind : {BackendKind::kTensorflow, BackendKind::kOnnx}) {
    CHECK(backends.OpenAt(kind, FAKE_BACKEND).ok());
    CHECK(Has(backends.OpenAt(kind, FAKE_BACKEND).text(), "is already loaded"));
  }
  CHECK_EQUAL(std::string(backends.version(Engine::kOpenvino)), "9.9.0");
}

void ALibraryIsFoundByItsNameWithoutVersion() {
  std::string name = (std::filesystem::temp_directory_path() / "penstock_test_backends_XXXXXX").string();
  CHECK(mkdtemp(name.data()) != nullptr);
  const std::filesystem::path folder = name;
  std::filesystem::copy_file(FAKE_BACKEND, folder / "libopenvino.so.2641");
  std::ofstream(folder / "libopenvino_c.so.2641") << "another";
  Options options;
  options.engine(Engine::kOpenvino).backend = FAKE_BACKEND;
  options.engine(Engine::kOpenvino).libraries = folder.string();
  CHECK_EQUAL(Text(Backends(options, "/").Open(Engine::kOpenvino)), "ok");
  options.engine(Engine::kOnnxruntime).backend = FAKE_BACKEND;
  options.engine(Engine::kOnnxruntime).libraries = folder.string();
  CHECK(Has(Text(Backends(options, "/").Open(Engine::kOnnxruntime)), "libonnxruntime.so"));
  std::filesystem::remove_all(folder);
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
  AMissingPackageIsNamedWithTheWayOut();
  OnnxGoesWhereItIsSentOrWhereThereIsABackend();
  KindsThatShareAFileAreOpenedEachInItsName();
  ALibraryIsFoundByItsNameWithoutVersion();
  return penstock::test::Report();
}
