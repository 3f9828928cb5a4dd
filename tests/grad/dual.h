// SPDX-License-Identifier: Apache-2.0
// Dual numbers: a value and its derivative along one direction. With these in place of double, generated
// code computes J v beside its results; dual.py puts them there. Each rule is written out here, apart
// from the compiler's.
#ifndef DUAL_H
#define DUAL_H
#include <cmath>
#include <cstdint>
#include <type_traits>

struct dual {
    double v, d;
    dual() = default;
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
    constexpr dual(T x) : v(static_cast<double>(x)), d(0) {}
    constexpr dual(double x, double t) : v(x), d(t) {}
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
    explicit operator T() const { return static_cast<T>(v); }
    dual &operator+=(dual b) { return *this = {v + b.v, d + b.d}; }
    dual &operator-=(dual b) { return *this = {v - b.v, d - b.d}; }
    dual &operator*=(dual b) { return *this = {v * b.v, (d == 0 ? 0 : d * b.v) + (b.d == 0 ? 0 : v * b.d)}; }
};
static inline dual operator+(dual a, dual b) { return a += b; }
static inline dual operator-(dual a, dual b) { return a -= b; }
static inline dual operator*(dual a, dual b) { return a *= b; }
static inline dual operator/(dual a, dual b) { return {a.v / b.v, (a.d - a.v / b.v * b.d) / b.v}; }
static inline dual operator-(dual a) { return {-a.v, -a.d}; }
#define COMPARE(op) static inline bool operator op(dual a, dual b) { return a.v op b.v; }
COMPARE(<) COMPARE(<=) COMPARE(>) COMPARE(>=) COMPARE(==) COMPARE(!=)
#undef COMPARE

// slope * a.d, where nothing that moves is no movement whatever the slope
static inline dual chain(double v, double slope, dual a) { return {v, a.d == 0 ? 0 : slope * a.d}; }
static inline dual exp(dual a) { return chain(std::exp(a.v), std::exp(a.v), a); }
static inline dual exp2(dual a) { return chain(std::exp2(a.v), std::exp2(a.v) * 0.6931471805599453, a); }
static inline dual expm1(dual a) { return chain(std::expm1(a.v), std::exp(a.v), a); }
static inline dual log(dual a) { return chain(std::log(a.v), 1 / a.v, a); }
static inline dual log2(dual a) { return chain(std::log2(a.v), 1 / (a.v * 0.6931471805599453), a); }
static inline dual log1p(dual a) { return chain(std::log1p(a.v), 1 / (1 + a.v), a); }
static inline dual sqrt(dual a) { return chain(std::sqrt(a.v), 0.5 / std::sqrt(a.v), a); }
static inline dual sin(dual a) { return chain(std::sin(a.v), std::cos(a.v), a); }
static inline dual cos(dual a) { return chain(std::cos(a.v), -std::sin(a.v), a); }
static inline dual tan(dual a) { return chain(std::tan(a.v), 1 / (std::cos(a.v) * std::cos(a.v)), a); }
static inline dual asin(dual a) { return chain(std::asin(a.v), 1 / std::sqrt((1 - a.v) * (1 + a.v)), a); }
static inline dual acos(dual a) { return chain(std::acos(a.v), -1 / std::sqrt((1 - a.v) * (1 + a.v)), a); }
static inline dual atan(dual a) { return chain(std::atan(a.v), 1 / (1 + a.v * a.v), a); }
static inline dual sinh(dual a) { return chain(std::sinh(a.v), std::cosh(a.v), a); }
static inline dual cosh(dual a) { return chain(std::cosh(a.v), std::sinh(a.v), a); }
static inline dual tanh(dual a) { return chain(std::tanh(a.v), 1 - std::tanh(a.v) * std::tanh(a.v), a); }
static inline dual asinh(dual a) { return chain(std::asinh(a.v), 1 / std::sqrt(1 + a.v * a.v), a); }
static inline dual acosh(dual a) { return chain(std::acosh(a.v), 1 / std::sqrt(a.v * a.v - 1), a); }
static inline dual atanh(dual a) { return chain(std::atanh(a.v), 1 / ((1 - a.v) * (1 + a.v)), a); }
static inline dual erf(dual a) { return chain(std::erf(a.v), 1.1283791670955126 * std::exp(-a.v * a.v), a); }
static inline dual fabs(dual a) { return chain(std::fabs(a.v), (a.v > 0) - (a.v < 0), a); }
static inline dual floor(dual a) { return {std::floor(a.v), 0}; }
static inline dual ceil(dual a) { return {std::ceil(a.v), 0}; }
static inline dual trunc(dual a) { return {std::trunc(a.v), 0}; }
static inline dual rint(dual a) { return {std::rint(a.v), 0}; }
static inline dual nearbyint(dual a) { return {std::nearbyint(a.v), 0}; }
static inline dual fmod(dual a, dual b) { return {std::fmod(a.v, b.v), a.d - std::trunc(a.v / b.v) * b.d}; }
static inline dual atan2(dual a, dual b) {
    double r = a.v * a.v + b.v * b.v;
    return {std::atan2(a.v, b.v), (b.v * a.d - a.v * b.d) / r};
}
static inline dual pow(dual a, dual b) {
    double y = std::pow(a.v, b.v), d = 0;
    if (a.d != 0 && b.v != 0) d += b.v * std::pow(a.v, b.v - 1) * a.d;
    if (b.d != 0 && y != 0) d += y * std::log(a.v) * b.d;
    return {y, d};
}

// Byte offsets into a work area that holds duals where generated code counts doubles.
struct twice {
    unsigned char *p;
    twice operator+(int64_t n) const { return {p + 2 * n}; }
    bool operator!() const { return !p; }
    operator void *() const { return p; }
    explicit operator uintptr_t() const { return reinterpret_cast<uintptr_t>(p); }
};
#endif
