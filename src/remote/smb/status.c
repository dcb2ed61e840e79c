#include "remote/smb/status.h"

#include <errno.h>
#include <stddef.h>

static const struct smb_status statuses[] = {
    {0xc000006d, false, -EACCES, "the server refuses the login: user, domain or password is wrong"},
    {0xc000006a, false, -EACCES, "the server refuses the login: the password is wrong"},
    {0xc0000064, false, -EACCES, "the server refuses the login: it has no such user"},
    {0xc000006e, false, -EACCES,
     "the server refuses the login: the account is restricted (may it log in by network, has it a password?)"},
    {0xc000006f, false, -EACCES, "the server refuses the login: not at this hour"},
    {0xc0000070, false, -EACCES, "the server refuses the login: not from this machine"},
    {0xc0000071, false, -EACCES, "the server refuses the login: the password has expired"},
    {0xc0000072, false, -EACCES, "the server refuses the login: the account is disabled"},
    {0xc000015b, false, -EACCES, "the server refuses the login: the account may not log in by network"},
    {0xc0000193, false, -EACCES, "the server refuses the login: the account has expired"},
    {0xc0000224, false, -EACCES, "the server refuses the login: the password must be changed first"},
    {0xc0000234, false, -EACCES, "the server refuses the login: the account is locked"},
    {0xc00000cc, false, -ENOENT, "the server has no such share"},
    {0xc00000be, false, -ENOENT, "the server has no such share"},
    {0xc0000022, false, -EACCES, "the server denies access"},
    {0xc000000f, false, -ENOENT, "there is no such file in the share"},
    {0xc0000034, false, -ENOENT, "there is no such file in the share"},
    {0xc000003a, false, -ENOENT, "there is no such folder in the share"},
    {0xc0000033, false, -ENOENT, "there can be no file of that name in the share"},
    {0xc0000039, false, -ENOENT, "there can be no file of that name in the share"},
    {0xc000003b, false, -ENOENT, "there can be no file of that name in the share"},
    {0xc0000056, false, -ENOENT, "the file is being deleted"},
    {0xc00000ba, false, -EISDIR, "it is a folder, not an image"},
    {0xc0000043, true, -EBUSY, "somebody has the image open for writing (try again when it is closed)"},
    {0x8000002d, false, -EINVAL, "it is a symbolic link, which is not followed (give the file that it leads to)"},
    {0xc0000257, false, -EINVAL,
     "it is a link of DFS, which is not followed (give the server and share that it leads to)"},
    {0xc00000bb, false, -EREMOTEIO,
     "the server does not support what is asked for (SMB2 or SMB3 must be enabled there)"},
    {0xc0000205, true, -EAGAIN, "the server has no resources left"},
    {0xc000009a, true, -EAGAIN, "the server has no resources left"},
    {0xc00000d0, true, -EAGAIN, "the server accepts no more requests"},
    {0xc00000cf, true, -EAGAIN, "the server has paused the share"},
};

const struct smb_status *smb_status_find(uint32_t status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == status)
            return &statuses[i];
    return NULL;
}
