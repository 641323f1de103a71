// Compiled by `cargo xtask setup` into `libtch-<tch version>.so`; called by src/batch_norm.rs.
//
// Batch normalization with a ReLU behind it or not, for rows of any number of channels: by the statistics of the batch with gradients, or by
// given ones without.
//
// libtorch's kernels for channels-last activations take several times as long where channels fill no whole vector registers, as pruned
// layers have them, and a ReLU is a pass through memory of its own, forward and backward. Here rows are taken by so many at a time that they
// do fill registers; by the batch's statistics forward and backward take two passes each, with the ReLU, and by given ones forward takes one.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <numeric>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
#define INLINE inline __attribute__((always_inline))

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A bfloat16 by its bits, which compilers vectorize.
struct Bfloat16 {
  uint16_t bits;
};

INLINE float wide(float x) { return x; }
INLINE float wide(Bfloat16 x) {
  uint32_t bits = uint32_t(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}

INLINE void store(float &to, float x) { to = x; }
INLINE void store(Bfloat16 &to, float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to.bits = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded;
}

/// Some rows, of which `tile` numbers are a whole number of rows and of registers.
template <class T> struct Rows {
  T *data;
  int64_t begin, end, tile;
};

/// Sums of x − shift and of its square, by the place in a tile.
template <class T>
INLINE void sums(const Rows<const T> &rows, const float *__restrict shift, float *__restrict sum, float *__restrict square) {
  for (int64_t at = rows.begin; at < rows.end; at += rows.tile) {
    const T *__restrict x = rows.data + at;
    const int64_t n = std::min(rows.tile, rows.end - at);
    for (int64_t j = 0; j < n; j++) {
      const float v = wide(x[j]) - shift[j];
      sum[j] += v;
      square[j] += v * v;
    }
  }
}

/// y = scale · x + bias, cut off at 0 or not.
template <bool RELU, class T>
INLINE void transform(const Rows<const T> &rows, const float *__restrict scale, const float *__restrict bias, T *__restrict out) {
  for (int64_t at = rows.begin; at < rows.end; at += rows.tile) {
    const T *__restrict x = rows.data + at;
    T *__restrict y = out + at;
    const int64_t n = std::min(rows.tile, rows.end - at);
    for (int64_t j = 0; j < n; j++) {
      const float v = wide(x[j]) * scale[j] + bias[j];
      store(y[j], RELU && v < 0 ? 0 : v);
    }
  }
}

/// Sums of the gradient g behind the cut, and of g · (x − shift).
template <bool RELU, class T>
INLINE void gradients(const Rows<const T> &rows, const T *__restrict gradient, const float *__restrict scale, const float *__restrict bias,
                      const float *__restrict shift, float *__restrict sum, float *__restrict product) {
  for (int64_t at = rows.begin; at < rows.end; at += rows.tile) {
    const T *__restrict x = rows.data + at;
    const T *__restrict dy = gradient + at;
    const int64_t n = std::min(rows.tile, rows.end - at);
    for (int64_t j = 0; j < n; j++) {
      const float v = wide(x[j]);
      const float g = RELU && v * scale[j] + bias[j] <= 0 ? 0 : wide(dy[j]);
      sum[j] += g;
      product[j] += g * (v - shift[j]);
    }
  }
}

/// dx = scale · g + slope · x + offset.
template <bool RELU, class T>
INLINE void propagate(const Rows<const T> &rows, const T *__restrict gradient, const float *__restrict scale, const float *__restrict bias,
                      const float *__restrict slope, const float *__restrict offset, T *__restrict out) {
  for (int64_t at = rows.begin; at < rows.end; at += rows.tile) {
    const T *__restrict x = rows.data + at;
    const T *__restrict dy = gradient + at;
    T *__restrict dx = out + at;
    const int64_t n = std::min(rows.tile, rows.end - at);
    for (int64_t j = 0; j < n; j++) {
      const float v = wide(x[j]);
      const float g = RELU && v * scale[j] + bias[j] <= 0 ? 0 : wide(dy[j]);
      store(dx[j], g * scale[j] + (v * slope[j] + offset[j]));
    }
  }
}

#define KERNELS(T)                                                                                                                         \
  FOR_EACH_PROCESSOR void run_sums(const Rows<const T> &rows, const float *shift, float *sum, float *square) {                              \
    sums(rows, shift, sum, square);                                                                                                        \
  }                                                                                                                                        \
  FOR_EACH_PROCESSOR void run_transform(bool relu, const Rows<const T> &rows, const float *scale, const float *bias, T *out) {              \
    relu ? transform<true>(rows, scale, bias, out) : transform<false>(rows, scale, bias, out);                                             \
  }                                                                                                                                        \
  FOR_EACH_PROCESSOR void run_gradients(bool relu, const Rows<const T> &rows, const T *dy, const float *scale, const float *bias,           \
                                        const float *shift, float *sum, float *product) {                                                 \
    relu ? gradients<true>(rows, dy, scale, bias, shift, sum, product) : gradients<false>(rows, dy, scale, bias, shift, sum, product);     \
  }                                                                                                                                        \
  FOR_EACH_PROCESSOR void run_propagate(bool relu, const Rows<const T> &rows, const T *dy, const float *scale, const float *bias,           \
                                        const float *slope, const float *offset, T *out) {                                                \
    relu ? propagate<true>(rows, dy, scale, bias, slope, offset, out) : propagate<false>(rows, dy, scale, bias, slope, offset, out);       \
  }
KERNELS(float)
KERNELS(Bfloat16)

/// How `positions` rows of `channels` are gone through.
struct Tiling {
  int64_t positions, channels, rows;

  Tiling(int64_t positions, int64_t channels) : positions(positions), channels(channels) {
    constexpr int64_t REGISTER = 16;
    rows = REGISTER / std::gcd(channels, REGISTER);
    // Short tiles would spend their time on the loop around them.
    while (rows * channels < 512)
      rows *= 2;
  }

  int64_t tile() const { return rows * channels; }

  /// Numbers of channels, over and over.
  std::vector<float> repeated(const float *from) const {
    std::vector<float> all(tile());
    for (int64_t i = 0; i < tile(); i++)
      all[i] = from[i % channels];
    return all;
  }

  /// Calls `part(number, begin, end)` on parts of the numbers, whole tiles but for the last, one for each thread.
  template <class F> void in_parts(F part) const {
    const int64_t tiles = (positions + rows - 1) / rows, parts = count();
    at::parallel_for(0, parts, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        auto at = [&](int64_t i) { return std::min(tiles * i / parts * tile(), positions * channels); };
        part(i, at(i), at(i + 1));
      }
    });
  }

  int64_t count() const {
    constexpr int64_t LEAST = 1 << 15;
    return std::clamp<int64_t>(positions * channels / LEAST, 1, at::get_num_threads());
  }

  /// Two sums by channel, in 64 bits; `part(begin, end, sum, second)` adds to sums by the place in a tile.
  template <class F> std::array<std::vector<double>, 2> two_sums(F part) const {
    // So few numbers are added in 32 bits.
    const int64_t step = 256 * tile();
    std::vector<double> all(2 * channels * count());
    in_parts([&](int64_t number, int64_t begin, int64_t end) {
      double *own = all.data() + 2 * channels * number;
      std::vector<float> sums(2 * tile());
      for (int64_t at = begin; at < end; at += step) {
        std::fill(sums.begin(), sums.end(), 0.f);
        part(at, std::min(at + step, end), sums.data(), sums.data() + tile());
        for (int64_t i = 0; i < 2 * tile(); i++)
          own[i / tile() * channels + i % tile() % channels] += sums[i];
      }
    });
    std::array<std::vector<double>, 2> found{std::vector<double>(channels), std::vector<double>(channels)};
    for (int64_t i = 0; i < int64_t(all.size()); i++)
      found[i / channels % 2][i % channels] += all[i];
    return found;
  }
};

template <class T> const T *numbers(const at::Tensor &tensor) { return static_cast<const T *>(tensor.const_data_ptr()); }

struct BatchNorm : torch::autograd::Function<BatchNorm> {
  static at::Tensor forward(AutogradContext *context, const at::Tensor &x, const at::Tensor &scale, const at::Tensor &bias,
                            const at::Tensor &mean, const at::Tensor &variance, double rate, double epsilon, bool relu) {
    const bool half = x.scalar_type() == at::kBFloat16;
    auto y = at::empty_like(x);
    auto kept = at::empty({4, x.size(1)}, scale.options().requires_grad(false));
    if (half)
      compute<Bfloat16>(x, y, kept, scale, bias, mean, variance, rate, epsilon, relu);
    else
      compute<float>(x, y, kept, scale, bias, mean, variance, rate, epsilon, relu);
    context->save_for_backward({x, kept});
    context->saved_data["relu"] = relu;
    return y;
  }

  template <class T>
  static void compute(const at::Tensor &x, const at::Tensor &y, const at::Tensor &kept, const at::Tensor &scale, const at::Tensor &bias,
                      const at::Tensor &mean, const at::Tensor &variance, double rate, double epsilon, bool relu) {
    const Tiling tiling(x.size(0), x.size(1));
    const T *from = numbers<T>(x);
    T *to = static_cast<T *>(y.mutable_data_ptr());
    float *running = mean.mutable_data_ptr<float>(), *running_variance = variance.mutable_data_ptr<float>();
    // Sums of what lies around 0 lose no digits; before the first step the running mean may be anything finite.
    std::vector<float> middle(running, running + tiling.channels);
    for (float &m : middle)
      m = std::isfinite(m) ? m : 0;
    const auto shift = tiling.repeated(middle.data());
    auto [sum, square] = tiling.two_sums([&](int64_t begin, int64_t end, float *sum, float *square) {
      run_sums(Rows<const T>{from, begin, end, tiling.tile()}, shift.data(), sum, square);
    });
    float *a = kept.mutable_data_ptr<float>(), *b = a + tiling.channels, *m = b + tiling.channels, *s = m + tiling.channels;
    const double n = tiling.positions;
    for (int64_t c = 0; c < tiling.channels; c++) {
      const double off = sum[c] / n, own = middle[c] + off, v = std::max(square[c] / n - off * off, 0.0);
      const double inverse = 1 / std::sqrt(v + epsilon);
      a[c] = scale.const_data_ptr<float>()[c] * inverse;
      b[c] = bias.const_data_ptr<float>()[c] - own * a[c];
      m[c] = own;
      s[c] = inverse;
      running[c] += rate * (own - running[c]);
      running_variance[c] += rate * (v * n / (n - 1) - running_variance[c]);
    }
    const auto scales = tiling.repeated(a), biases = tiling.repeated(b);
    tiling.in_parts([&](int64_t, int64_t begin, int64_t end) {
      run_transform(relu, Rows<const T>{from, begin, end, tiling.tile()}, scales.data(), biases.data(), to);
    });
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &kept = saved[1];
    const auto dy = gradients[0].contiguous();
    auto dx = at::empty_like(x);
    auto parameters = at::empty({2, x.size(1)}, kept.options());
    const bool relu = context->saved_data["relu"].toBool();
    if (x.scalar_type() == at::kBFloat16)
      differentiate<Bfloat16>(x, kept, dy, dx, parameters, relu);
    else
      differentiate<float>(x, kept, dy, dx, parameters, relu);
    const at::Tensor none;
    return {dx, parameters[0], parameters[1], none, none, none, none, none};
  }

  template <class T>
  static void differentiate(const at::Tensor &x, const at::Tensor &kept, const at::Tensor &dy, const at::Tensor &dx,
                            const at::Tensor &parameters, bool relu) {
    const Tiling tiling(x.size(0), x.size(1));
    const T *from = numbers<T>(x), *gradient = numbers<T>(dy);
    const int64_t channels = tiling.channels;
    const float *a = kept.const_data_ptr<float>(), *b = a + channels, *m = b + channels, *s = m + channels;
    const auto scales = tiling.repeated(a), biases = tiling.repeated(b), means = tiling.repeated(m);
    auto [sum, product] = tiling.two_sums([&](int64_t begin, int64_t end, float *sum, float *product) {
      run_gradients(relu, Rows<const T>{from, begin, end, tiling.tile()}, gradient, scales.data(), biases.data(), means.data(), sum, product);
    });
    std::vector<float> slope(channels), offset(channels);
    float *dscale = parameters.mutable_data_ptr<float>(), *dbias = dscale + channels;
    const double n = tiling.positions;
    for (int64_t c = 0; c < channels; c++) {
      dscale[c] = product[c] * s[c];
      dbias[c] = sum[c];
      const double along = double(a[c]) * s[c] * s[c] * product[c] / n;
      slope[c] = -along;
      offset[c] = m[c] * along - a[c] * sum[c] / n;
    }
    const auto slopes = tiling.repeated(slope.data()), offsets = tiling.repeated(offset.data());
    T *to = static_cast<T *>(dx.mutable_data_ptr());
    tiling.in_parts([&](int64_t, int64_t begin, int64_t end) {
      run_propagate(relu, Rows<const T>{from, begin, end, tiling.tile()}, gradient, scales.data(), biases.data(), slopes.data(), offsets.data(), to);
    });
  }
};

/// y = (x − mean) / √(variance + epsilon) · scale + bias, cut off at 0 or not.
template <class T>
void normalize(const at::Tensor &x, const at::Tensor &y, const at::Tensor &scale, const at::Tensor &bias, const at::Tensor &mean,
               const at::Tensor &variance, double epsilon, bool relu) {
  const Tiling tiling(x.size(0), x.size(1));
  std::vector<float> a(tiling.channels), b(tiling.channels);
  for (int64_t c = 0; c < tiling.channels; c++) {
    const double factor = numbers<float>(scale)[c] / std::sqrt(double(numbers<float>(variance)[c]) + epsilon);
    a[c] = factor;
    b[c] = numbers<float>(bias)[c] - numbers<float>(mean)[c] * factor;
  }
  const auto scales = tiling.repeated(a.data()), biases = tiling.repeated(b.data());
  T *to = static_cast<T *>(y.mutable_data_ptr());
  tiling.in_parts([&](int64_t, int64_t begin, int64_t end) {
    run_transform(relu, Rows<const T>{numbers<T>(x), begin, end, tiling.tile()}, scales.data(), biases.data(), to);
  });
}

void check(const at::Tensor &x, std::initializer_list<const at::Tensor *> parameters) {
  for (const at::Tensor *tensor : parameters)
    TORCH_CHECK(tensor->is_cpu() && tensor->scalar_type() == at::kFloat && tensor->is_contiguous() && tensor->dim() == 1 &&
                    tensor->size(0) == x.size(1),
                "batch norm: a parameter is not [channels] in 32 bits");
  TORCH_CHECK(x.is_cpu() && x.dim() == 2 && x.is_contiguous(), "batch norm: the rows do not lie behind one another");
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "batch norm: numbers of another kind");
}

} // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

/// `x` [positions, channels] with its rows behind one another, in 32 bits or bfloat16, the others [channels] in 32 bits. With a `rate` by the
/// statistics of the batch and with gradients, the running `mean` and `variance` moving in place; with none by those, without gradients. Puts
/// the outputs into `y`; gives what went wrong, to be freed, or nothing.
EXPORTED char *secateurs_normalize(at::Tensor **y, const at::Tensor *x, const at::Tensor *scale, const at::Tensor *bias,
                                   const at::Tensor *mean, const at::Tensor *variance, const double *rate, double epsilon, bool relu) {
  try {
    check(*x, {scale, bias, mean, variance});
    if (rate) {
      TORCH_CHECK(x->size(0) > 1, "batch norm: one row has no variance");
      *y = new at::Tensor(BatchNorm::apply(*x, *scale, *bias, *mean, *variance, *rate, epsilon, relu));
      return nullptr;
    }
    const at::NoGradGuard none;
    const auto out = at::empty_like(*x);
    if (x->scalar_type() == at::kBFloat16)
      normalize<Bfloat16>(*x, out, *scale, *bias, *mean, *variance, epsilon, relu);
    else
      normalize<float>(*x, out, *scale, *bias, *mean, *variance, epsilon, relu);
    *y = new at::Tensor(out);
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  }
}
