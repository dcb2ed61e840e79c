"""What DMTF's schemas say of the properties that the service has, as data: for each resource type its type or values, whether
null is allowed (a leading "?"), and what is required ("!"). And the routes of the service: which methods they have, and who may."""

HEALTH = ("OK", "Warning", "Critical")
STATE = ("Enabled", "StandbyOffline", "Disabled")
LINK = {"!@odata.id": "path"}
MESSAGE = {"!@odata.type": "type", "!MessageId": "text", "!Message": "text", "!MessageArgs": ["text"], "!Resolution": "text",
           "!MessageSeverity": HEALTH, "RelatedProperties": ["text"]}
RESETS = ("On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "ForceOn", "PushPowerButton", "PowerCycle",
          "Suspend", "Pause", "Resume", "FullPowerCycle")
TARGETS = ("None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "Utilities", "Diags", "UefiShell", "UefiTarget", "SDCard",
           "UefiHttp", "RemoteDrive", "UefiBootNext", "Recovery")
ENABLED = ("Disabled", "Once", "Continuous")
MODES = ("Legacy", "UEFI")
RESOURCE = {"!@odata.id": "path", "!@odata.type": "type", "!Id": "text", "!Name": "text", "Description": "?text",
            "@odata.etag": "etag", "Oem": "any", "@Message.ExtendedInfo": [MESSAGE], "@Redfish.WriteableProperties": ["text"]}
COLLECTION = {"!@odata.id": "path", "!@odata.type": "type", "!Name": "text", "Description": "?text", "@odata.etag": "etag",
              "!Members": [LINK], "!Members@odata.count": "number"}
CONDITION = {"!MessageId": "text", "!Severity": HEALTH, "!Timestamp": "time", "Message": "text", "MessageArgs": ["text"],
             "OriginOfCondition": LINK, "Resolution": "text"}
STATUS = {"State": STATE, "Health": HEALTH, "HealthRollup": HEALTH, "Conditions": [CONDITION]}
NAME = {"CommonName": "text", "Organization": "text", "OrganizationalUnit": "text", "City": "text", "State": "text",
        "Country": "text", "Email": "?text"}
PROTOCOLS = ("CIFS", "FTP", "SFTP", "HTTP", "HTTPS", "NFS", "SCP", "TFTP", "OEM")
POLICIES = ("OnPowerOff", "Session", "Timed", "AfterUse", "Persistent")
METHODS = ("Stream", "Upload")
PARAMETER = {"!Name": "text", "!Required": "flag", "!DataType": ("Boolean", "Number", "String", "Object"), "AllowableValues": ["text"]}

TYPES = {
    "ServiceRoot": {**RESOURCE, "RedfishVersion": "text", "Product": "?text", "Vendor": "?text", "UUID": "?uuid", "Systems": LINK,
                    "Managers": LINK, "SessionService": LINK, "AccountService": LINK, "EventService": LINK, "Registries": LINK, "Tasks": LINK,
                    "JsonSchemas": LINK, "!Links": {"!Sessions": LINK},
                    "ProtocolFeaturesSupported": {
                        **{f"{q}Query": "flag" for q in ("Excerpt", "Filter", "OnlyMember", "Select", "TopSkip")},
                        "MultipleHTTPRequests": "flag", "DeepOperations": {"DeepPATCH": "flag", "DeepPOST": "flag", "MaxLevels": "number"},
                        "ExpandQuery": {"ExpandAll": "flag", "Levels": "flag", "Links": "flag", "NoLinks": "flag",
                                        "MaxLevels": "number"}}},
    "ComputerSystem": {**RESOURCE, "SystemType": ("Physical", "Virtual"), "UUID": "?uuid", "Status": STATUS,
                       "PowerState": ("On", "Off", "PoweringOn", "PoweringOff", "Paused", None), "VirtualMedia": LINK,
                       "Actions": {"#ComputerSystem.Reset": {"!target": "path", "!@Redfish.ActionInfo": "path", "!ResetType@Redfish.AllowableValues": [RESETS]}},
                       "Boot": {"@Redfish.WriteableProperties": ["text"], "BootSourceOverrideTarget": TARGETS, "BootSourceOverrideTarget@Redfish.AllowableValues": [TARGETS],
                                "BootSourceOverrideEnabled": ENABLED, "BootSourceOverrideEnabled@Redfish.AllowableValues": [ENABLED],
                                "BootSourceOverrideMode": (*MODES, None), "BootSourceOverrideMode@Redfish.AllowableValues": [MODES]},
                       "Links": {"ManagedBy": [LINK], "ManagedBy@odata.count": "number"}},
    "Manager": {**RESOURCE, "ManagerType": ("BMC", "Service"), "UUID": "?uuid", "ServiceEntryPointUUID": "?uuid",
                "PowerState": ("On",), "Status": STATUS, "VirtualMedia": LINK,
                "Links": {"ManagerForServers": [LINK], "ManagerForServers@odata.count": "number"}},
    "MessageRegistry": {"!@odata.type": "type", "!Id": "text", "!Name": "text", "!Language": "text", "Description": "?text",
                        "!RegistryPrefix": "text", "!RegistryVersion": "text", "!OwningEntity": "text", "!Messages": "any"},
    "VirtualMedia": {**RESOURCE, "Certificates": LINK, "ClientCertificates": LINK, "ConnectedVia": ("NotConnected", "URI", "Applet", "Oem"),
                     "EjectPolicy": POLICIES, "EjectTimeout": "?duration", "Image": "?text", "ImageName": "?text",
                     "Inserted": "?flag", "MediaTypes": [("CD", "Floppy", "USBStick", "DVD")], "Password": "null", "Status": STATUS,
                     "TransferMethod": (*METHODS, None), "TransferProtocolType": (*PROTOCOLS, None), "UserName": "?text",
                     "VerifyCertificate": "?flag", "WriteProtected": "?flag",
                     "EjectPolicy@Redfish.AllowableValues": [POLICIES], "TransferMethod@Redfish.AllowableValues": [METHODS],
                     "TransferProtocolType@Redfish.AllowableValues": [PROTOCOLS],
                     "Actions": {"#VirtualMedia.EjectMedia": {"target": "path"},
                                 "#VirtualMedia.InsertMedia": {"target": "path", "!@Redfish.ActionInfo": "path",
                                                               "EjectPolicy@Redfish.AllowableValues": [POLICIES],
                                                               "TransferMethod@Redfish.AllowableValues": [METHODS],
                                                               "TransferProtocolType@Redfish.AllowableValues": [PROTOCOLS]}}},
    "Certificate": {**RESOURCE, "CertificateString": "?text", "CertificateType": ("PEM", "PEMchain", "PKCS7"), "Subject": NAME,
                    "Issuer": NAME, "ValidNotBefore": "time", "ValidNotAfter": "time", "SerialNumber": "text", "Fingerprint": "text",
                    "FingerprintHashAlgorithm": "text"},
    "ActionInfo": {**RESOURCE, "!Parameters": [PARAMETER]},
    "SessionService": {**RESOURCE, "ServiceEnabled": "?flag", "SessionTimeout": "number", "Sessions": LINK},
    "Session": {**RESOURCE, "UserName": "?text", "Password": "null", "Token": "null", "SessionType": ("Redfish", "WebUI"),
                "Roles": ["?text"], "ClientOriginIPAddress": "?text", "CreatedTime": "?time"},
    "AccountService": {**RESOURCE, "ServiceEnabled": "?flag", "MinPasswordLength": "number", "MaxPasswordLength": "number",
                       "Accounts": LINK, "Roles": LINK},
    "ManagerAccount": {**RESOURCE, "UserName": "text", "Password": "null", "PasswordChangeRequired": "?flag", "RoleId": "text",
                       "Enabled": "flag", "Locked": "flag", "!AccountTypes": [("Redfish", "WebUI")], "Links": {"Role": LINK}},
    "Role": {**RESOURCE, "!RoleId": "text", "IsPredefined": "flag", "OemPrivileges": ["text"],
             "AssignedPrivileges": [("Login", "ConfigureManager", "ConfigureUsers", "ConfigureSelf", "ConfigureComponents")]},
    "EventService": {**RESOURCE, "ServiceEnabled": "?flag", "Status": STATUS, "ServerSentEventUri": "path",
                     "Subscriptions": LINK, "DeliveryRetryAttempts": "number", "DeliveryRetryIntervalSeconds": "number",
                     "Actions": {"#EventService.SubmitTestEvent": {"!target": "path"}},
                     "EventFormatTypes": [("Event", "MetricReport")], "RegistryPrefixes": ["?text"], "ResourceTypes": ["?text"],
                     "IncludeOriginOfConditionSupported": "?flag", "SubordinateResourcesSupported": "?flag",
                     "SSEFilterPropertiesSupported": {p: "flag" for p in (
                         "EventFormatType", "MessageId", "MetricReportDefinition", "OriginResource", "RegistryPrefix", "ResourceType",
                         "SubordinateResources")}},
    "EventDestination": {**RESOURCE, "!Context": "?text", "!SubscriptionType": ("RedfishEvent", "SSE"), "Protocol": ("Redfish",),
                         "EventFormatType": ("Event", "MetricReport"), "Destination": "any-url", "HttpHeaders": ["any"],
                         "RegistryPrefixes": ["?text"], "ResourceTypes": ["?text"], "EventTypes": ["text"],
                         "DeliveryRetryPolicy": ("TerminateAfterRetries", "SuspendRetries", "RetryForever", "RetryForeverWithBackoff"),
                         "VerifyCertificate": "?flag", "Status": STATUS,
                         "Actions": {f"#EventDestination.{name}Subscription": {"!target": "path"} for name in ("Resume", "Suspend")}},
    "MessageRegistryFile": {**RESOURCE, "!Languages": ["text"], "!Registry": "text",
                            "!Location": [{"Language": "text", "Uri": "path", "PublicationUri": "url"}]},
    "TaskService": {**RESOURCE, "ServiceEnabled": "?flag", "Status": STATUS, "Tasks": LINK, "LifeCycleEventOnTaskStateChange": "flag",
                    "CompletedTaskOverWritePolicy": ("Manual", "Oldest"), "TaskAutoDeleteTimeoutMinutes": "number"},
    "Task": {**RESOURCE, "TaskState": ("Running", "Completed", "Exception", "Cancelling", "Cancelled"), "TaskStatus": HEALTH,
             "TaskMonitor": "path", "StartTime": "time", "EndTime": "time", "PercentComplete": "?number", "HidePayload": "flag",
             "Messages": [MESSAGE]},
    "JsonSchemaFile": {**RESOURCE, "!Languages": ["text"], "!Schema": "type",
                       "!Location": [{"Language": "text", "PublicationUri": "url"}]},
}

# Who may: everybody, who logs in, who may insert (Operator), who may configure the daemon or its users (Administrator).
ALL, LOGIN, MEDIA, ADMIN = range(4)
SLOT = "/redfish/v1/Managers/bmc/VirtualMedia/*"
OWN = "/redfish/v1/Systems/system/VirtualMedia/*" # where the schema has a slot's client certificates
ACCOUNTS, SESSIONS = "/redfish/v1/AccountService/Accounts", "/redfish/v1/SessionService/Sessions"
# Of one's own Operators and others have more than of others': those rows are tested where they belong.
ROUTES = {
    "/redfish": {"GET": ALL},
    "/redfish/v1": {"GET": ALL},
    "/redfish/v1/odata": {"GET": ALL},
    "/redfish/v1/$metadata": {"GET": ALL},
    "/redfish/v1/JsonSchemas": {"GET": LOGIN},
    "/redfish/v1/JsonSchemas/*": {"GET": LOGIN},
    "/redfish/v1/EventService": {"GET": LOGIN, "PATCH": ADMIN},
    "/redfish/v1/EventService/Actions/EventService.SubmitTestEvent": {"POST": ADMIN},
    "/redfish/v1/EventService/SSE": {"GET": LOGIN},
    "/redfish/v1/EventService/Subscriptions": {"GET": LOGIN, "POST": ADMIN},
    "/redfish/v1/EventService/Subscriptions/Members": {"POST": ADMIN},
    "/redfish/v1/EventService/Subscriptions/*": {"GET": LOGIN, "PATCH": LOGIN, "DELETE": LOGIN},
    "/redfish/v1/EventService/Subscriptions/*/Actions/EventDestination.ResumeSubscription": {"POST": ADMIN},
    "/redfish/v1/EventService/Subscriptions/*/Actions/EventDestination.SuspendSubscription": {"POST": ADMIN},
    "/redfish/v1/Registries": {"GET": LOGIN},
    "/redfish/v1/Registries/*": {"GET": LOGIN},
    "/redfish/v1/Registries/NbdProxy/NbdProxy": {"GET": LOGIN},
    "/redfish/v1/TaskService": {"GET": LOGIN},
    "/redfish/v1/TaskService/Tasks": {"GET": LOGIN},
    "/redfish/v1/TaskService/Tasks/*": {"GET": LOGIN, "DELETE": MEDIA},
    "/redfish/v1/TaskService/TaskMonitors/*": {"GET": LOGIN, "DELETE": MEDIA},
    "/redfish/v1/SessionService": {"GET": LOGIN},
    SESSIONS: {"GET": LOGIN, "POST": ALL},
    SESSIONS + "/Members": {"POST": ALL},
    SESSIONS + "/*": {"GET": LOGIN, "DELETE": LOGIN},
    "/redfish/v1/AccountService": {"GET": LOGIN},
    ACCOUNTS: {"GET": LOGIN, "POST": ADMIN},
    ACCOUNTS + "/Members": {"POST": ADMIN},
    ACCOUNTS + "/*": {"GET": LOGIN, "PATCH": LOGIN, "DELETE": ADMIN},
    "/redfish/v1/AccountService/Roles": {"GET": LOGIN},
    "/redfish/v1/AccountService/Roles/*": {"GET": LOGIN},
    "/redfish/v1/Systems": {"GET": LOGIN},
    "/redfish/v1/Systems/system": {"GET": LOGIN, "PATCH": MEDIA},
    "/redfish/v1/Systems/system/ResetActionInfo": {"GET": LOGIN},
    "/redfish/v1/Systems/system/Actions/ComputerSystem.Reset": {"POST": MEDIA},
    "/redfish/v1/Managers": {"GET": LOGIN},
    "/redfish/v1/Managers/bmc": {"GET": LOGIN},
    "/redfish/v1/Managers/bmc/VirtualMedia": {"GET": LOGIN},
    SLOT: {"GET": LOGIN, "PATCH": MEDIA},
    SLOT + "/Certificates": {"GET": LOGIN, "POST": ADMIN},
    SLOT + "/Certificates/Members": {"POST": ADMIN},
    SLOT + "/Certificates/*": {"GET": LOGIN, "DELETE": ADMIN},
    OWN + "/ClientCertificates": {"GET": LOGIN, "POST": ADMIN},
    OWN + "/ClientCertificates/Members": {"POST": ADMIN},
    OWN + "/ClientCertificates/*": {"GET": LOGIN, "DELETE": ADMIN},
    SLOT + "/InsertMediaActionInfo": {"GET": LOGIN},
    SLOT + "/Actions/VirtualMedia.InsertMedia": {"POST": MEDIA},
    SLOT + "/Actions/VirtualMedia.EjectMedia": {"POST": MEDIA},
}
