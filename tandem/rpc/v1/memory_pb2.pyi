from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConversationRequest(_message.Message):
    __slots__ = ("tenant", "conversation", "limit")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    conversation: str
    limit: int
    def __init__(self, tenant: _Optional[str] = ..., conversation: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class Line(_message.Message):
    __slots__ = ("who", "text", "at")
    WHO_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    who: str
    text: str
    at: int
    def __init__(self, who: _Optional[str] = ..., text: _Optional[str] = ..., at: _Optional[int] = ...) -> None: ...

class ConversationReply(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[Line]
    def __init__(self, lines: _Optional[_Iterable[_Union[Line, _Mapping]]] = ...) -> None: ...

class CustomerRequest(_message.Message):
    __slots__ = ("tenant", "conversation")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    conversation: str
    def __init__(self, tenant: _Optional[str] = ..., conversation: _Optional[str] = ...) -> None: ...

class PastTicket(_message.Message):
    __slots__ = ("ticket", "intent", "outcome", "at", "summary")
    TICKET_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    ticket: str
    intent: str
    outcome: str
    at: int
    summary: str
    def __init__(self, ticket: _Optional[str] = ..., intent: _Optional[str] = ..., outcome: _Optional[str] = ..., at: _Optional[int] = ..., summary: _Optional[str] = ...) -> None: ...

class Known(_message.Message):
    __slots__ = ("name", "value", "ticket", "message", "at", "until")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    ticket: str
    message: str
    at: int
    until: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., ticket: _Optional[str] = ..., message: _Optional[str] = ..., at: _Optional[int] = ..., until: _Optional[int] = ...) -> None: ...

class CustomerReply(_message.Message):
    __slots__ = ("facts_json", "tickets", "known")
    FACTS_JSON_FIELD_NUMBER: _ClassVar[int]
    TICKETS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    facts_json: str
    tickets: _containers.RepeatedCompositeFieldContainer[PastTicket]
    known: _containers.RepeatedCompositeFieldContainer[Known]
    def __init__(self, facts_json: _Optional[str] = ..., tickets: _Optional[_Iterable[_Union[PastTicket, _Mapping]]] = ..., known: _Optional[_Iterable[_Union[Known, _Mapping]]] = ...) -> None: ...
