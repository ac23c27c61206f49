// Does with the database what a solver does, and checks what it gets. test_solvers.py says what it must find
// there and looks at what it leaves. Argument: a TorchScript file that doubles its input.

#include <array>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <penstock.hpp>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr int kNx = 3, kNy = 4;

void Expect(bool true_, const std::string& what) {
  if (true_) return;
  std::cerr << "not as expected: " << what << "\n";
  std::exit(1);
}

// An error of this class, about this subject.
template <class Expected, class Action>
void Refused(const std::string& subject, Action action) {
  try {
    action();
  } catch (const Expected& error) {
    Expect(std::string(error.what()).find(subject) != std::string::npos, error.what());
    return;
  }
  Expect(false, "no error about " + subject);
}

template <class T>
std::vector<T> Pattern(double more = 0) {
  std::vector<T> u;
  for (int i = 0; i < kNx; i++)
    for (int j = 0; j < kNy; j++) u.push_back(static_cast<T>(10 * i + j + more));
  return u;
}

// SmartRedis has put "plain.<dtype>"; each comes back as "own.<dtype>".
template <class T>
void OneType(penstock::Client& client) {
  const std::string dtype = penstock_dtype_name(penstock::dtype_of<T>());
  const penstock::Tensor found = client.get_tensor("plain." + dtype);
  Expect(found.dims() == std::vector<std::int64_t>{kNx, kNy}, dtype);
  const auto values = found.as<T>();
  const auto expected = Pattern<T>();
  Expect(std::vector<T>(values.begin(), values.end()) == expected, dtype);
  client.put_tensor("own." + dtype, {values.data(), found.dims()});
}

template <class... Types>
void EveryType(penstock::Client& client) {
  (OneType<Types>(client), ...);
}

void OfOurOwn(penstock::Client& client) {
  const std::vector<std::complex<double>> waves = {{1, 2}, {3, 4}};
  client.put_tensor("waves", waves);
  Expect(client.get_tensor("waves").as<std::complex<double>>()[1] == waves[1], "complex");
  const std::array<bool, 3> mask = {true, false, true};
  client.put_tensor("mask", mask);
  Expect(client.get_tensor("mask").as<bool>()[2], "bool");
  Refused<penstock::TensorError>("bool, not float32", [&] { client.get_tensor("mask").as<float>(); });
  client.delete_tensor("mask");
  Expect(!client.tensor_exists("mask") && client.tensor_exists("waves"), "deletion");
  Expect(client.tensor_info("waves").nbytes == 32, "bytes");
}

void Sections(penstock::Client& client) {
  double u[6][8], back[3][3];
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 8; j++) u[i][j] = 100 * (i + 1) + j + 1;
  client.put_tensor("section", {&u[1][7], {3, 3}, {2 * 8, -3}});
  client.get_tensor("section", {&back[0][0], {3, 3}});
  Expect(back[0][0] == 208 && back[0][1] == 205 && back[2][2] == 602, "section");
  double spread[3][6] = {};
  client.get_tensor("section", {&spread[0][0], {3, 3}, {6, 2}});
  Expect(spread[0][2] == 205 && spread[2][4] == 602 && spread[2][5] == 0, "into a section");
  Refused<penstock::TensorError>("2 dimensions with 1 strides",
                                 [&] { client.put_tensor("section", {&u[0][0], {3, 3}, {1}}); });
}

void Snapshots(penstock::Client& client) {
  const auto p = Pattern<float>();
  const std::size_t nx = kNx, ny = kNy;
  for (int step = 0; step <= 10; step += 10) {
    const auto u = Pattern<double>(step);
    client.put_snapshot(step, {{"u", {u.data(), {nx, ny}}}, {"p", {p.data(), {nx, ny}}}}, 0.5 * step);
  }
  {
    const auto u = Pattern<double>(20);
    client.put_snapshot_async(20, {{"u", {u.data(), {nx, ny}}}, {"p", {p.data(), {nx, ny}}}});
  }
  client.flush(10s);
  Expect(client.announced() == 3, "three snapshots");
  std::vector<penstock::Field> fields = {{"u", p}};
  Refused<penstock::SnapshotError>("p", [&] { client.put_snapshot(30, fields); });
  client.end_stream();
  Expect(client.stream_ended("solver_cc", 2) && !client.stream_ended("solver_cc", 3),
         "the end of the stream");
  client.describe_field("T", {"K", {"x", "y"}, {2 * nx, ny}, {nx, 0}}, "blocks");
  client.put_snapshot(100, {{"T", {p.data(), {nx, ny}}}}, NAN, "blocks");
  Refused<penstock::SnapshotError>("float32 (6, 4) in blocks, K, dims x y since solver_cc.2.100", [&] {
    client.put_snapshot(101, {{"T", {Pattern<double>().data(), {nx, ny}}}}, NAN, "blocks");
  });
  Refused<penstock::TensorError>("one entry for each dimension",
                                 [&] { client.describe_field("T", {"K", {"x"}, {nx, ny}, {0, 0}}); });
  Expect(client.contract("blocks") == "since solver_cc.2.100\nT: float32 (6, 4) in blocks, K, dims x y" &&
             client.contract("none").empty(),
         "the contract");
  std::vector<float> whole(2 * nx * ny);
  const auto info = client.snapshot_info(0, "blocks");
  Expect(info.found.at("T").info.dims[0] == kNx && info.fields.empty(), "what a snapshot is");
  const auto about =
      client.get_snapshot(0, {{"T", {&whole[nx * ny], {nx, ny}}}}, "blocks").found.at("T").about;
  Expect(about.units == "K" && about.dims[1] == "y" && about.shape[0] == 2 * kNx && about.offset[0] == kNx,
         "what is known of a field");
  Expect(whole[0] == 0 && whole[nx * ny + 5] == 11, "into a part of an array");
  Expect(client.snapshot_names(0, "blocks") == std::vector<std::string>{"solver_cc.2.100"}, "names");
  client.forget_stream("blocks");
  Expect(client.announced("blocks") == 0, "a stream that was forgotten");
  const penstock::Snapshot found = client.get_snapshot(1);
  Expect(found.producer == "solver_cc" && found.rank == 2 && found.step == 10 && found.time == 5, "snapshot");
  Expect(found.fields.at("u").as<double>()[5] == 11 + 10 && found.fields.at("p").as<float>()[5] == 11,
         "fields");
  Refused<penstock::KeyMissing>("snapshots", [&] { client.get_snapshot(7); });
}

void Models(penstock::Client& client, const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string archive((std::istreambuf_iterator<char>(file)), {});
  std::vector<float> x = {1, 2, 3}, y(3);
  Refused<penstock::ModelMissing>("twice", [&] { client.infer("twice", {x}, {y}); });
  client.put_model("twice", archive, 1);
  Expect(client.wait_model("twice", 10s) == 1 && client.model_version("twice") == 1, "version");
  client.put_model("twice", archive, 2, "CPU", R"({"loss": 0.5, "steps": 40})", false);
  Expect(client.model_version("twice") == 1, "a version that is only stored");
  Expect(client.infer_versioned("twice", {x}, {y}) == 1 && y == std::vector<float>{2, 4, 6},
         "the version that has answered");
  client.promote_model("twice", 2);
  const auto [answer, version] = client.infer_versioned("twice", {{x.data(), {3, 1}}});
  Expect(version == 2 && answer.dims() == std::vector<std::int64_t>{3, 1} && answer.as<float>()[2] == 6,
         "the answer of the next version");
  client.report_error("twice", NAN, version);
  client.promote_model("twice", 1);
  client.report_error("twice", 0.25, 1);
  Refused<penstock::ModelMissing>("none", [&] { client.infer_versioned("none", {x}, {y}); });
  Refused<penstock::InferenceFailed>("twice", [&] { client.infer_versioned("twice", {x, x}); });
  Refused<penstock::ModelRejected>("an object in JSON",
                                   [&] { client.put_model("twice", archive, 3, "CPU", "loss"); });
  Refused<penstock::ModelMissing>("twice", [&] { client.promote_model("twice", 7); });
  Expect(client.get_model("twice") == archive && client.get_model("twice", 1) == archive, "its archive");
  Refused<penstock::ModelMissing>("version 3", [&] { client.get_model("twice", 3); });
  client.infer("twice", {x}, {y});
  Expect(y == std::vector<float>{2, 4, 6}, "the model's answer");
  Expect(client.infer("twice", {{x.data(), {3, 1}}}, 1).dims() == std::vector<std::int64_t>{3, 1},
         "its shape");
  Refused<penstock::ModelRejected>("twice", [&] { client.put_model("twice", archive, 1); });
  Refused<penstock::InferenceFailed>("twice", [&] { client.infer("twice", {x, x}); });
}

// What was queued and did not arrive is told by close.
void Leaving(penstock::Client& client) {
  const std::vector<double> u(kNx * kNy);
  client.put_snapshot_async(203, {{"u", {u.data(), {kNx, kNy}}}}, NAN, "full");
  Refused<penstock::StreamFull>("did not arrive: step 203 of the stream 'full'", [&] { client.close(); });
}

void FlagsAndErrors(penstock::Client& client) {
  client.raise_flag("cc.ready");
  client.wait_flag("cc.ready", 10s);
  Expect(client.flag_raised("cc.ready") && !client.flag_raised("cc.never"), "flags");
  Expect(client.wait_list("snapshots", 3, 10s) == 3, "length of a list");
  client.wait_tensor("plain.int8", 10s);
  std::vector<double> small(4);
  Refused<penstock::TimedOut>("never", [&] { client.wait_tensor("never", 20ms); });
  Refused<penstock::KeyMissing>("gone", [&] { client.get_tensor("gone", small); });
  Refused<penstock::TensorError>("(3, 4)", [&] { client.get_tensor("plain.float64", small); });
  Refused<penstock::Error>("not a name", [&] { client.put_tensor("not a name", small); });
  client.put_tensor_async("queued", small);
  penstock::Client moved = std::move(client);
  moved.flush(10s);
  Expect(moved.get_tensor("queued").dims() == std::vector<std::int64_t>{4}, "queue");
  moved.request_stop();
  Expect(moved.stop_requested(), "a requested stop");
  Leaving(moved);
}

void Bounds(penstock::Client& client) {
  penstock_bound bound{};
  bound.items = 2;
  bound.policy = PENSTOCK_DROP_NEWEST;
  client.bound_stream(bound, "few");
  Expect(client.subscribe("reader", "few") == 0, "a new consumer");
  const auto u = Pattern<double>();
  for (int step = 0; step < 3; step++) {
    const auto outcome = client.put_snapshot(100 + step, {{"u", {u.data(), {kNx, kNy}}}}, NAN, "few");
    Expect(outcome == (step < 2 ? PENSTOCK_STORED : PENSTOCK_SKIPPED), "what became of it");
  }
  Expect(client.fill("few").level >= 1 && client.fill("few").skipped == 1, "the fill");
  client.acknowledge(1, "reader", "few");
  Expect(client.fill("few").items == 1, "the fill after an acknowledgement");
  Refused<penstock::SnapshotDropped>("drop_newest", [&] { client.get_snapshot(0, "few"); });
  client.unsubscribe("reader", "few");
  bound.policy = PENSTOCK_BLOCK;
  bound.wait = 0.02;
  client.bound_stream(bound, "full");
  for (int step = 0; step < 2; step++)
    client.put_snapshot(200 + step, {{"u", {u.data(), {kNx, kNy}}}}, NAN, "full");
  Refused<penstock::StreamFull>("nobody has subscribed", [&] {
    client.put_snapshot(202, {{"u", {u.data(), {kNx, kNy}}}}, NAN, "full");
  });
}

}  // namespace

int main(int, char** argv) {
  Refused<penstock::DatabaseUnavailable>("/there/is/none",
                                         [] { penstock::Client("unix:///there/is/none", 50ms); });
  penstock::Client client;
  client.set_identity("solver_cc", 2);
  EveryType<double, float, std::int64_t, std::int32_t, std::int16_t, std::int8_t, std::uint16_t,
            std::uint8_t>(client);
  OfOurOwn(client);
  Sections(client);
  Snapshots(client);
  Bounds(client);
  Models(client, argv[1]);
  FlagsAndErrors(client);
  std::cout << "everything was as it must be\n";
}
