/* SHA-256 (FIPS 180-4). */
#ifndef ES_BASE_SHA256_H
#define ES_BASE_SHA256_H
#include <stddef.h>
#include <stdint.h>
void es_sha256(const void *data, size_t size, uint8_t digest[32]);
#endif
