"""What a client is told when a request cannot be served: the types, texts and statuses of TGI."""

import orjson
from starlette.responses import PlainTextResponse, Response


class ServeError(Exception):
    """A refusal with one of TGI's error types."""

    status = 500
    error_type = ""
    prefix = ""

    def __init__(self, message: str = ""):
        super().__init__(self.prefix + message)

    def body(self) -> bytes:
        """The JSON that clients know."""
        return orjson.dumps({"error": str(self), "error_type": self.error_type})

    def response(self) -> Response:
        """An HTTP response."""
        return Response(self.body(), self.status, media_type="application/json")


class ValidationError(ServeError):
    """The request asks for what this server does not do."""

    status, error_type, prefix = 422, "validation", "Input validation error: "


class TemplateError(ServeError):
    """The chat template is missing, or refuses these messages."""

    status, error_type, prefix = 422, "template_error", "Template error: "


class ToolError(ServeError):
    """The request wants tools."""

    status, error_type, prefix = 422, "tool_error", "Tool error: "


class OverloadedError(ServeError):
    """As many requests as allowed are under way."""

    status, error_type, prefix = 429, "overloaded", "Model is overloaded"


class GenerationError(ServeError):
    """The model failed on this request."""

    status, error_type, prefix = 424, "generation", "Request failed during generation: "


class IncompleteGenerationError(ServeError):
    """The engine ended before the response did."""

    status, error_type, prefix = 500, "incomplete_generation", "Incomplete generation"


class UnhealthyError(ServeError):
    """The engine is gone."""

    status, error_type, prefix = 503, "healthcheck", "unhealthy"


class MalformedError(Exception):
    """A body that is no such request at all; answered in plain text."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status

    def response(self) -> Response:
        """An HTTP response."""
        return PlainTextResponse(str(self), self.status)


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""
