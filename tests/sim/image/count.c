/*
 * count.c - calls of the product that are counted (count.h): the linker sends each
 * use of f from another file to __wrap_f, which counts and goes on to f as if
 * nothing had been.
 */
#include "tests/sim/count.h"

#ifdef __x86_64__
/* r11 and the flags are nobody's at a call. */
#define COUNTED(name, text)                                                    \
    __asm__(".text\n"                                                          \
            ".globl __wrap_" #name "\n"                                        \
            ".hidden __wrap_" #name "\n"                                       \
            ".type __wrap_" #name ", @function\n"                              \
            "__wrap_" #name ":\n"                                              \
            "  movq sim_calls_of_" #name "@GOTPCREL(%rip), %r11\n"             \
            "  incq (%r11)\n"                                                  \
            "  jmp __real_" #name "\n"                                         \
            ".size __wrap_" #name ", . - __wrap_" #name "\n");
#elif defined(__aarch64__)
/* So are x16 and x17. */
#define COUNTED(name, text)                                                    \
    __asm__(".text\n"                                                          \
            ".globl __wrap_" #name "\n"                                        \
            ".hidden __wrap_" #name "\n"                                       \
            ".type __wrap_" #name ", @function\n"                              \
            "__wrap_" #name ":\n"                                              \
            "  adrp x16, :got:sim_calls_of_" #name "\n"                        \
            "  ldr x16, [x16, :got_lo12:sim_calls_of_" #name "]\n"             \
            "  ldr x17, [x16]\n"                                               \
            "  add x17, x17, #1\n"                                             \
            "  str x17, [x16]\n"                                               \
            "  b __real_" #name "\n"                                           \
            ".size __wrap_" #name ", . - __wrap_" #name "\n");
#endif

SIM_CALLS(COUNTED)
