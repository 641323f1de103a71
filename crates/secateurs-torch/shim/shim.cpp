// Compiled by `cargo xtask setup` together with torch-sys's C++ glue into `libtch-<tch version>.so`.
//
// It adds two things to the glue: what the library was compiled for, so that `secateurs_torch::load` can
// refuse a wrong one, and the glue's calls back into Rust. The glue calls `tch_write_stream_write` and its
// like, which torch-sys defines in Rust; a library that is opened at run time cannot see the symbols of the
// executable, so Rust hands their addresses over.

#include <cstddef>
#include <cstdint>
#include <torch/headeronly/version.h>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define INSIDE extern "C" __attribute__((visibility("hidden")))

/// The libtorch version whose headers this library was compiled with, e.g. "2.11.0".
EXPORT const char *secateurs_torch_version() { return TORCH_VERSION; }

/// The tch version whose glue this library holds, e.g. "0.24.0".
EXPORT const char *secateurs_tch_version() { return SECATEURS_TCH_VERSION; }

namespace {
// Same order as `Streams` in src/load.rs.
struct Streams {
  void (*write_destructor)(void *);
  bool (*write)(void *, const uint8_t *, size_t, size_t *);
  void (*read_destructor)(void *);
  bool (*position)(void *, uint64_t *);
  bool (*seek_start)(void *, uint64_t, uint64_t *);
  bool (*seek_end)(void *, int64_t, uint64_t *);
  bool (*read)(void *, uint8_t *, size_t, size_t *);
};
Streams streams;
} // namespace

/// Hands over torch-sys's stream functions; called once, before anything else.
EXPORT void secateurs_torch_set_streams(const Streams *from) { streams = *from; }

INSIDE bool tch_write_stream_destructor(void *s) {
  streams.write_destructor(s);
  return true;
}
INSIDE bool tch_write_stream_write(void *s, const uint8_t *buf, size_t size, size_t *out) {
  return streams.write(s, buf, size, out);
}
INSIDE bool tch_read_stream_destructor(void *s) {
  streams.read_destructor(s);
  return true;
}
INSIDE bool tch_read_stream_stream_position(void *s, uint64_t *pos) { return streams.position(s, pos); }
INSIDE bool tch_read_stream_seek_start(void *s, uint64_t pos, uint64_t *out) {
  return streams.seek_start(s, pos, out);
}
INSIDE bool tch_read_stream_seek_end(void *s, int64_t pos, uint64_t *out) {
  return streams.seek_end(s, pos, out);
}
INSIDE bool tch_read_stream_read(void *s, uint8_t *buf, size_t size, size_t *out) {
  return streams.read(s, buf, size, out);
}
