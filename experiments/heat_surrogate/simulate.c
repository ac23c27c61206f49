// simulate.py in C: the same plates, the same numbers to rounding. Compiled by run.py where solver = "c".

#include <math.h>
#include <penstock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double kPi = 3.14159265358979323846;
static const char kStream[] = "snapshots";
enum { kNiceness = 10, kWarmUp = 32, kHighestWave = 4 };

typedef struct plate {
  int points, jump_steps;
  double jump_time, least_diffusivity, greatest_diffusivity;
} plate;

static void stop_with(const char* text) {
  fprintf(stderr, "simulate.c: %s\n", text);
  exit(1);
}

// --name=value of the command line.
static double option(int argc, char** argv, const char* name) {
  size_t length = strlen(name);
  for (int i = 1; i < argc; i++) {
    char* end;
    if (strncmp(argv[i], "--", 2) || strncmp(argv[i] + 2, name, length) || argv[i][2 + length] != '=')
      continue;
    double value = strtod(argv[i] + 3 + length, &end);
    if (end != argv[i] + 3 + length && *end == '\0') return value;
    stop_with(argv[i]);
  }
  fprintf(stderr, "simulate.c: --%s=NUMBER is missing\n", name);
  exit(2);
}

static double* new_field(int rows, int columns) {
  double* field = calloc((size_t)rows * (size_t)columns, sizeof *field);
  if (!field) stop_with("no memory for a field");
  return field;
}

// ---- Random numbers, as Draws of heat.py

static uint64_t state;

static uint64_t next_state(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void seed_with(uint64_t seed, uint64_t wave) {
  state = (seed << 32) + wave + 1;
  for (int i = 0; i < kWarmUp; i++) next_state();
}

static double uniform(double least, double greatest) {
  return least + (greatest - least) * ((double)(next_state() >> 11) * 0x1p-53);
}

static double normal(void) {
  double radius = sqrt(-2 * log(1 - uniform(0, 1)));
  return radius * cos(2 * kPi * uniform(0, 1));
}

// ---- The plate

// A smooth field without a mean, of unit standard deviation.
static void draw_waves(double* u, int n) {
  memset(u, 0, (size_t)n * (size_t)n * sizeof *u);
  for (int kx = 0; kx <= kHighestWave; kx++)
    for (int ky = -kHighestWave; ky <= kHighestWave; ky++) {
      if (kx == 0 && ky == 0) continue;
      double phase = uniform(0, 1), amplitude = normal() / (1 + kx * kx + ky * ky);
      for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
          u[i * n + j] += amplitude * cos(2 * kPi * (kx * ((double)i / n) + ky * ((double)j / n) + phase));
    }
  double mean = 0, square = 0;
  for (int i = 0; i < n * n; i++) mean += u[i] / (n * n);
  for (int i = 0; i < n * n; i++) square += (u[i] - mean) * (u[i] - mean) / (n * n);
  for (int i = 0; i < n * n; i++) u[i] = (u[i] - mean) / sqrt(square);
}

// The nearest way round a periodic unit.
static double nearest(double distance) { return distance + 0.5 - floor(distance + 0.5) - 0.5; }

// Two to four heaters and coolers that together add no heat, K/s.
static void draw_source(double* source, int n) {
  memset(source, 0, (size_t)n * (size_t)n * sizeof *source);
  int heaters = (int)uniform(2, 5);
  for (int heater = 0; heater < heaters; heater++) {
    double x0 = uniform(0, 1), y0 = uniform(0, 1), width = uniform(0.06, 0.12);
    double sign = uniform(0, 1) < 0.5 ? -1 : 1, power = sign * uniform(1, 2);
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) {
        double dx = nearest((double)i / n - x0), dy = nearest((double)j / n - y0);
        source[i * n + j] += power * exp(-(dx * dx + dy * dy) / (2 * width * width));
      }
  }
  double mean = 0;
  for (int i = 0; i < n * n; i++) mean += source[i] / (n * n);
  for (int i = 0; i < n * n; i++) source[i] -= mean;
}

// One solver step from `from` to `to`, which have a rim of one point on each side.
static void step(double* from, double* to, const double* source, int n, double number, double dt) {
  int m = n + 2;
  for (int j = 0; j < m; j++) {
    from[j] = from[n * m + j];
    from[(n + 1) * m + j] = from[m + j];
  }
  for (int i = 0; i < m; i++) {
    from[i * m] = from[i * m + n];
    from[i * m + n + 1] = from[i * m + 1];
  }
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= n; j++) {
      const double* at = &from[i * m + j];
      double neighbours = at[-m] + at[m] + at[-1] + at[1];
      to[i * m + j] = (1 - 4 * number) * *at + number * neighbours + dt * source[(i - 1) * n + j - 1];
    }
}

// Advance u by one jump, K.
static void advance(double* u, const double* source, double diffusivity, const plate* on) {
  int n = on->points, m = n + 2;
  double dt = on->jump_time / on->jump_steps, number = diffusivity * dt * n * n;
  double *now = new_field(m, m), *next = new_field(m, m);
  for (int i = 0; i < n; i++) memcpy(&now[(i + 1) * m + 1], &u[i * n], (size_t)n * sizeof *u);
  for (int i = 0; i < on->jump_steps; i++) {
    step(now, next, source, n, number, dt);
    double* last = now;
    now = next;
    next = last;
  }
  for (int i = 0; i < n; i++) memcpy(&u[i * n], &now[(i + 1) * m + 1], (size_t)n * sizeof *u);
  free(now);
  free(next);
}

// ---- The solver

static void check(int status, const penstock_client* client) {
  if (status) stop_with(penstock_error(client));
}

static void describe(penstock_client* client, const char* name, const char* units) {
  penstock_about about = {.units = units};
  check(penstock_describe_field(client, kStream, name, &about), client);
}

static void put(penstock_client* client, int64_t at, double time, const double* u, const double* source,
                double diffusivity, int n) {
  static float *single_u, *single_source;
  size_t size = (size_t)n * (size_t)n;
  if (!single_u) single_u = malloc(size * sizeof *single_u);
  if (!single_source) single_source = malloc(size * sizeof *single_source);
  if (!single_u || !single_source) stop_with("no memory for a snapshot");
  for (size_t i = 0; i < size; i++) single_u[i] = (float)u[i];
  for (size_t i = 0; i < size; i++) single_source[i] = (float)source[i];
  float single_diffusivity = (float)diffusivity;
  const int64_t square[] = {n, n}, one[] = {1};
  const penstock_field fields[] = {
      {"u", {single_u, PENSTOCK_FLOAT32, 2, square, NULL}},
      {"source", {single_source, PENSTOCK_FLOAT32, 2, square, NULL}},
      {"diffusivity", {&single_diffusivity, PENSTOCK_FLOAT32, 1, one, NULL}},
  };
  check(penstock_put_snapshot(client, kStream, at, time, fields, 3), client);
}

// Simulate a new plate over some jumps; steps leave a gap between waves, so that no pair spans two.
static void simulate_wave(penstock_client* client, const plate* on, uint64_t seed, int wave, int jumps) {
  int n = on->points, first = wave * (jumps + 2);
  double *u = new_field(n, n), *source = new_field(n, n);
  seed_with(seed, (uint64_t)wave);
  double diffusivity = uniform(on->least_diffusivity, on->greatest_diffusivity);
  draw_waves(u, n);
  for (int jump = first; jump <= first + jumps; jump++) {
    draw_source(source, n);
    put(client, (int64_t)jump * on->jump_steps, jump * on->jump_time, u, source, diffusivity, n);
    advance(u, source, diffusivity, on);
  }
  free(u);
  free(source);
}

static void write_report(long snapshots) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  FILE* report = fopen("report.json", "w");
  if (!report) stop_with("report.json cannot be written");
  fprintf(report, "{\"ended\": %.6f, \"snapshots\": %ld}\n", (double)now.tv_sec + 1e-9 * (double)now.tv_nsec,
          snapshots);
  if (fclose(report)) stop_with("report.json cannot be written");
}

int main(int argc, char** argv) {
  const plate on = {(int)option(argc, argv, "points"), (int)option(argc, argv, "jump_steps"),
                    option(argc, argv, "jump_time"), option(argc, argv, "least_diffusivity"),
                    option(argc, argv, "greatest_diffusivity")};
  uint64_t seed = (uint64_t)option(argc, argv, "seed");
  int waves = (int)option(argc, argv, "waves"), wave_jumps = (int)option(argc, argv, "wave_jumps");
  if (nice(kNiceness) == -1) stop_with("it cannot be made nice");

  penstock_client* client;
  check(penstock_connect(NULL, 0, &client), NULL);
  describe(client, "u", "K");
  describe(client, "source", "K s-1");
  describe(client, "diffusivity", "m2 s-1");
  int wave = 0, stop = 0;
  check(penstock_stop_requested(client, &stop), client);
  while (wave < waves && !stop) {
    simulate_wave(client, &on, seed, wave++, wave_jumps);
    check(penstock_stop_requested(client, &stop), client);
  }
  check(penstock_end_stream(client, kStream), client);
  penstock_close(client);
  write_report((long)wave * (wave_jumps + 1));
}
