/* A slot's inside, shared by slot.c (the state machine) and slots.c (the set). */
#ifndef SLOT_SLOT_INTERNAL_H
#define SLOT_SLOT_INTERNAL_H

#include "base/closing.h"
#include "base/defer.h"
#include "net/socket.h"
#include "slot/pipeline.h"
#include "slot/slot.h"

#define SLOT_REQUESTS_MAX 64  /* ejects that wait at a time */
#define SLOT_DETACH_MS 1000   /* reads under way have that long to end by themselves at an eject */

struct slots {
    uv_loop_t *loop;
    struct pipeline_context context;
    char *file_directory;
    char *runtime_dir;
    struct nbd_server_budget budget;
    struct slot *slots[CONFIG_SLOTS_MAX];
    unsigned count;
    unsigned alive; /* slots not freed yet, those being removed too */
    bool closing;
    struct defer closed_defer;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* An answer that is owed to a caller. */
struct slot_request {
    struct link link;
    struct defer defer;
    slot_done *done;
    void *arg;
    int status;
    char error[SLOT_ERROR_MAX];
};

struct slot {
    struct slots *set;
    unsigned index;
    struct config_slot config;
    struct config_slot *next_config; /* takes effect when the slot is empty */
    enum slot_state state;
    bool wanted;  /* a medium should be in */
    bool leaving; /* frees itself when empty */
    bool trace;
    struct source *source; /* from OPENING to CLOSING */
    bool source_closed;    /* before the server was detached */
    uv_timer_t detach_timer;
    struct closing closing;
    char *url, *url_public;
    bool writable;
    uint64_t ready_at;
    char error[SLOT_ERROR_MAX];
    int failure; /* why it went left; 0: it was asked to */
    struct slot_request *inserting;
    struct link ejecting; /* struct slot_request */
    unsigned ejecting_count;

    char *socket; /* path */
    struct listener *listener;
    struct nbd_server *server;
};

/* The default path when the config gives none. */
char *slot_socket_path(const struct config_slot *config, const char *runtime_dir);
struct slot *slot_new(struct slots *set, const struct config_slot *config, char error[CONFIG_ERROR_MAX]);
/* Ejects, then closes its server and frees itself; counts set->alive down. */
void slot_leave(struct slot *slot);
/* A new configuration: what is in is ejected first. Its socket must be listening already. */
void slot_reconfigure(struct slot *slot, const struct config_slot *config);
/* Inserts the image that the config names, if any. */
void slot_insert_configured(struct slot *slot);
struct listener *slot_listen(struct slot *slot, const struct config_slot *config, const char *path, char error[CONFIG_ERROR_MAX]);
/* slots.c: the slot has been freed. */
void slots_slot_gone(struct slots *set);

#endif
