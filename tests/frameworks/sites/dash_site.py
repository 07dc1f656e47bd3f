"""A Dash site: a graph that follows a dropdown, an upload, a table that is downloaded."""

from __future__ import annotations

import base64
import hashlib

import plotly.graph_objects as go
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

dash = Dash("dash_site", title="A site of \xfcml\xe4uts", serve_locally=True)
dash.layout = html.Div(
    [
        html.H1("W\xe4hle"),
        dcc.Dropdown(["one", "two", "\u4e16"], "one", id="choice"),
        dcc.Graph(id="graph"),
        dcc.Upload("drop a file", id="upload"),
        html.Div(id="digest"),
        html.Button("download", id="button"),
        dcc.Download(id="download"),
        html.Div(id="failing"),
    ]
)


@dash.callback(Output("graph", "figure"), Input("choice", "value"))
def draw(choice: str) -> go.Figure:
    return go.Figure(go.Bar(x=[1, 2], y=[3, 4]), layout={"title": {"text": f"chosen: {choice}"}})


@dash.callback(
    Output("digest", "children"), Input("upload", "contents"), State("upload", "filename")
)
def receive(contents: str | None, name: str | None) -> str:
    if contents is None:
        raise PreventUpdate
    data = base64.b64decode(contents.partition(",")[2])
    return f"{name} {hashlib.sha256(data).hexdigest()}"


@dash.callback(Output("download", "data"), Input("button", "n_clicks"), prevent_initial_call=True)
def download(clicks: int) -> dict[str, str]:
    return {"content": f"{clicks} clicks", "filename": "clicks.txt"}


@dash.callback(Output("failing", "children"), Input("failing", "title"))
def fail(title: str) -> str:
    raise ValueError("on purpose")


app = dash.server
