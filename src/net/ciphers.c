#include "net/ciphers.h"

#if defined(__arm__) || defined(__aarch64__)
#include <sys/auxv.h>

static bool ciphers_fast_aes(void)
{
    /* HWCAP_AES and HWCAP2_AES of <asm/hwcap.h>: getauxval(3). */
#if defined(__aarch64__)
    return getauxval(AT_HWCAP) & (1 << 3);
#else
    return getauxval(AT_HWCAP2) & (1 << 0);
#endif
}
#elif defined(__x86_64__) || defined(__i386__)
static bool ciphers_fast_aes(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
}
#else
static bool ciphers_fast_aes(void)
{
    return false;
}
#endif

const char *ciphers_tls13(void)
{
    return ciphers_fast_aes() ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
                              : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

const char *ciphers_tls12(void)
{
    return ciphers_fast_aes() ? "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20"
                              : "ECDHE+CHACHA20:ECDHE+AES128+AESGCM:ECDHE+AESGCM";
}

const char *ciphers_tls12_client(void)
{
    return ciphers_fast_aes() ? "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20:DEFAULT"
                              : "ECDHE+CHACHA20:ECDHE+AES128+AESGCM:ECDHE+AESGCM:DEFAULT";
}
