"""The chat of chat.py in Django: python examples/chat/chat_django.py [PORT]

The page and what it asks for are the same; here messages are a model, and a form checks them. The
two can take turns at one CHAT_FILE."""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import django
from django import forms
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.db.backends.signals import connection_created
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path
from meinheld import server, sse, sse_headers
from meinheld.sync import channel
from meinheld.websocket import WebSocketClosed, WebSocketMiddleware

KEPT = 50  # messages of a room
ROOMS = 100  # that keep messages; beyond them, the one that has been quiet for longest has to go
NAME = 40  # characters of a name
TEXT = 4096  # bytes of a text
BODY = 32768  # bytes of a message in JSON, where a text may be six times as long
WAIT = 20  # seconds after which a reader is told that nothing is new

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("CHAT_FILE", "chat.sqlite3"),
            "CONN_MAX_AGE": None,
        }
    },
    DATA_UPLOAD_MAX_MEMORY_SIZE=BODY,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # Content-Length
    ROOT_URLCONF=__name__,
)
django.setup()
lock = threading.Lock()  # of what is kept; nobody waits for messages while holding it
rooms = {}  # when the last message came, by name, the longest quiet one first


class Message(models.Model):
    at = models.BigIntegerField(primary_key=True)  # microseconds since 1970; the order of messages
    room = models.TextField()
    uuid = models.TextField()  # the writer's, by which one that is sent again is known
    name = models.TextField()
    text = models.TextField()

    class Meta:
        app_label = "chat"
        db_table = "message"
        unique_together = ("room", "uuid")

    def publish(self):
        """Tells the readers, and makes room."""
        rooms.pop(self.room, None)
        rooms[self.room] = self.at
        news = {"at": self.at, "id": self.uuid, "name": self.name, "text": self.text}
        channel(self.room, KEPT).publish(json.dumps(news))
        if len(rooms) > ROOMS:
            rooms.pop(quiet := next(iter(rooms)))
            channel(quiet, KEPT).clear()
            Message.objects.filter(room=quiet).delete()


class MessageForm(forms.Form):
    id = forms.UUIDField()
    name = forms.CharField(max_length=NAME)
    text = forms.CharField()


def say(room, data):
    """Keeps and publishes a message, unless it is kept already. The answer is when it came, or else
    what is wrong."""
    try:
        form = MessageForm(json.loads(data))
        valid = form.is_valid()
        size = len(form.cleaned_data.get("text", "").encode())
        form.cleaned_data.get("name", "").encode()
    except (ValueError, AttributeError, RecursionError):
        return {"error": "a message is JSON with an id, a name and a text"}, 400
    if not valid:
        return {"error": f"a message has a UUID, 1 to {NAME} characters of a name, and a text"}, 400
    if size > TEXT:
        return {"error": f"a text has at most {TEXT} bytes"}, 413
    uuid, name, text = (form.cleaned_data[key] for key in ("id", "name", "text"))
    with lock:
        have = Message.objects.filter(room=room, uuid=uuid).first()
        if have:
            return {"at": have.at}, 200
        last = Message.objects.aggregate(last=models.Max("at"))["last"] or 0
        at = max(time.time_ns() // 1000, last + 1)
        message = Message.objects.create(at=at, room=room, uuid=str(uuid), name=name, text=text)
        old = Message.objects.filter(room=room).order_by("-at").values_list("at", flat=True)[KEPT:]
        Message.objects.filter(at__in=list(old)).delete()
        message.publish()
    return {"at": at}, 200


def reader_of(request, room):
    """A reader in a room, at the place that its page names."""
    return channel(room, KEPT).subscribe(request.GET.get("after", "0"))


def all_news(reader, seconds=0):
    """What is new to a reader, as JSON, again and again, at first in so many seconds."""
    while True:
        new = ", ".join(reader.get_all(seconds))
        yield f'{{"after": {reader.id}, "missed": {reader.missed}, "messages": [{new}]}}'
        seconds = WAIT


def page(request):
    return FileResponse(Path(__file__).resolve().with_name("chat.html").open("rb"))


def list_rooms(request):
    with lock:
        names = [{"name": room, "at": at} for room, at in reversed(rooms.items())]
    return JsonResponse({"rooms": names})


def messages(request, room):
    if request.method == "POST":
        if request.content_type != "application/json":  # as no form on another site is
            return HttpResponse(status=415)
        try:
            answer, status = say(room, request.body)
        except RequestDataTooBig:
            answer, status = {"error": f"more than {BODY} bytes"}, 413
        return JsonResponse(answer, status=status)
    news = all_news(reader_of(request, room), 0 if "now" in request.GET else WAIT)
    return HttpResponse(next(news), content_type="application/json")


def events(request, room):
    news = all_news(reader_of(request, room))
    return StreamingHttpResponse(sse({"data": text} for text in news), headers=dict(sse_headers()))


def socket(request, room):
    ws = request.META.get("wsgi.websocket")
    if ws is None:
        return HttpResponse(status=426)
    server.spawn(listen, (ws, room))
    with suppress(WebSocketClosed):
        for text in all_news(reader_of(request, room)):
            ws.send(text)
    return HttpResponse()  # which nobody gets


def listen(ws, room):
    """Takes what a page says by its WebSocket, and answers it."""
    with suppress(WebSocketClosed):
        for data in ws:
            ws.send(json.dumps(say(room, data)[0]))


def prepare(connection, **_):
    """SQLite then waits for no disk, and still keeps what is said when the server is killed."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")


def same_site(origin, environ):
    return origin is None or origin.partition("://")[2] == environ["HTTP_HOST"]


connection_created.connect(prepare)
if Message._meta.db_table not in connection.introspection.table_names():
    with connection.schema_editor() as editor:
        editor.create_model(Message)
for message in list(Message.objects.order_by("at")):
    message.publish()
room = "rooms/(?P<room>[a-z0-9-]{1,32})"
urlpatterns = [
    path("", page),
    path("rooms", list_rooms),
    re_path(f"^{room}/messages$", messages),
    re_path(f"^{room}/events$", events),
    re_path(f"^{room}/socket$", socket),
]
app = WebSocketMiddleware(get_wsgi_application(), allow_origin=same_site, max_size=BODY)

if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/", flush=True)
    server.run(app, silent=True)
