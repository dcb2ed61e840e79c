#include "remote/sftp/memory.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"

struct block {
    struct link link;
    size_t size;
    _Alignas(max_align_t) unsigned char data[];
};

void *ssh_memory_alloc(struct ssh_memory *memory, size_t size)
{
    if (size > SSH_MEMORY_MAX || memory->used > SSH_MEMORY_MAX - size)
        return NULL;
    struct block *block = malloc(sizeof *block + size);
    if (!block)
        mem_exhausted();
    block->size = size;
    memory->used += size;
    list_append(&memory->blocks, &block->link);
    return block->data;
}

static struct block *block_of(void *data)
{
    return container_of(data, struct block, data);
}

static void release(struct ssh_memory *memory, void *data)
{
    if (!data)
        return;
    struct block *block = block_of(data);
    memory->used -= block->size;
    list_remove(&block->link);
    if (block->size <= WIPE_MAX)
        explicit_bzero(block->data, block->size);
    free(block);
}

static void *on_sftp_memory_alloc(size_t size, void **abstract)
{
    return ssh_memory_alloc(*abstract, size);
}

static void on_free(void *data, void **abstract)
{
    release(*abstract, data);
}

static void *on_realloc(void *data, size_t size, void **abstract)
{
    void *other = ssh_memory_alloc(*abstract, size);
    if (!other || !data)
        return other;
    size_t had = block_of(data)->size;
    memcpy(other, data, had < size ? had : size);
    release(*abstract, data);
    return other;
}

LIBSSH2_SESSION *ssh_memory_session(struct ssh_memory *memory)
{
    list_init(&memory->blocks);
    memory->used = 0;
    LIBSSH2_SESSION *session = libssh2_session_init_ex(on_sftp_memory_alloc, on_free, on_realloc, memory);
    if (!session)
        mem_exhausted();
    return session;
}

void ssh_memory_clear(struct ssh_memory *memory)
{
    list_for_each (l, &memory->blocks)
        release(memory, container_of(l, struct block, link)->data);
}
