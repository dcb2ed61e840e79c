/* A users file is refused with its line, or its accounts are sound, and each change
 * of it leads to a file that reads back. The first byte chooses the change. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/users_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HASH "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check_table(const struct users_table *table)
{
    must(table->count <= USERS_MAX && table->size <= USERS_FILE_MAX && strlen(table->text) == table->size);
    for (unsigned i = 0; i < table->count; i++) {
        const struct user *user = &table->users[i];
        must(user_name_valid(user->name) && users_table_find(table, user->name) == user);
        must(password_hash_valid(user->hash) && user->role < AUTH_ROLES);
        must(user->at + user->length <= table->size &&
             strncmp(table->text + user->at, user->name, strlen(user->name)) == 0);
    }
}

static void change(const struct users_table *table, uint8_t choice)
{
    struct users_table changed;
    char error[USERS_ERROR_MAX];
    struct users_edit edit = {
        .op = (enum users_op)(choice % 3), .name = "fuzz", .role = choice / 3 % 4 - 1, .enabled = choice / 12 % 3 - 1};
    if (choice & 128)
        edit.hash = HASH;
    if (table->count > 0 && edit.op != USERS_ADD)
        edit.name = table->users[choice % table->count].name;
    unsigned administrators = users_table_administrators(table);
    if (users_apply(table, &edit, &changed, error) != 0)
        return;
    check_table(&changed);
    must(administrators == 0 || users_table_administrators(&changed) > 0);
    must(changed.count == table->count + (edit.op == USERS_ADD) - (edit.op == USERS_REMOVE));
    must(!users_table_find(&changed, edit.name) == (edit.op == USERS_REMOVE));
    users_table_free(&changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct users_table table;
    char error[USERS_ERROR_MAX] = "";
    if (size == 0)
        return 0;
    if (users_parse(&table, "fuzz", (const char *)data + 1, size - 1, error) != 0) {
        must(strncmp(error, "fuzz:", 5) == 0 && table.count == 0);
    } else {
        check_table(&table);
        change(&table, data[0]);
    }
    users_table_free(&table);
    return 0;
}
