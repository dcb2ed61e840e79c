/* For whom a proxy asks, in both fields at once (a NUL between them): an address that is one, or nobody. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address_prefixes trusted;
    struct sockaddr_storage address;
    char client[ADDRESS_TEXT_MAX], *text = malloc(size + 2);
    memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    const char *other = text + strlen(text) + 1;
    bool only = other > text + size;
    address_prefixes_parse(&trusted, "192.0.2.1 10.0.0.0/8");
    if (forwarded_client(text, only ? NULL : other, &trusted, client) && !address_parse(client, &address))
        abort();
    if (forwarded_client(NULL, text, &trusted, client) && !address_parse(client, &address))
        abort();
    if (address_prefixes_parse(&trusted, text) && trusted.count > ADDRESS_PREFIXES_MAX)
        abort();
    char host[FORWARDED_HOST_MAX];
    if (forwarded_host(text, only ? NULL : other, host) != (*host != '\0') || strlen(host) >= sizeof host)
        abort();
    free(text);
    return 0;
}
