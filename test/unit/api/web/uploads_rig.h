/* /api/uploads over a real HTTP server, on a store_rig, and a client of it. */
#ifndef TEST_API_UPLOADS_RIG_H
#define TEST_API_UPLOADS_RIG_H

#include "../../store/store_rig.h"
#include "api/web/uploads.h"

#define OUTPUT_SIZE 20000

extern struct store_rig rig;
extern struct http_server *server;
extern struct uploads *uploads;
extern int client;               /* its connection */
extern char output[OUTPUT_SIZE]; /* the last answers */
extern size_t used;              /* of it */
extern bool ended;               /* by the server */
extern struct api_caller caller; /* who asks */
extern const char *inserted;     /* the image that may not be deleted */

int setup(void **state);
int teardown(void **state);
void start_api(void);
void stop_api(void);
void restart(void); /* with other options */

int connect_client(void);
void send_all(const void *data, size_t length);
/* Waits for so many answers; `output` has them all. */
void wait_answers(unsigned count, bool head);
size_t answer_length(const char *at, bool head); /* of the answer at `at`; 0: it is not whole */
unsigned status_of(const char *answer);
const char *body_of(void);

/* A request with these fields ("X: y\r\n") and the body; its status. The connection is a
 * new one if the last was closed. */
unsigned ask(const char *method, const char *path, const char *fields, const void *body, size_t length);
unsigned put_piece(const char *path, uint64_t first, uint64_t length, uint64_t size);
unsigned put_whole(const char *path, size_t size);
long long offset_field(void);          /* of the last answer; -1: it has none */
long long offset_of(const char *path); /* -1: there is no such image */
/* The last answer says so, and the image is stored. */
void assert_created(const char *name, size_t size);

#define assert_error(status, words, got)                                                                               \
    do {                                                                                                               \
        assert_int_equal(got, status);                                                                                 \
        assert_memory_equal(body_of(), "{\"error\":\"", 10);                                                           \
        if (!strstr(body_of(), words))                                                                                 \
            fail_msg("%s does not say \"%s\"", body_of(), words);                                                      \
    } while (0)

#endif
