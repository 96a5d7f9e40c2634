"""Follows a stream with the package sseclient-py, and prints a line of JSON for each event:

    python sseclient_reader.py <url>

The package parses one response. This script reconnects as the standard says: after the last `retry`
of the stream, with the last id as Last-Event-ID.
"""
import json
import sys
import time
import urllib.error
import urllib.request

from sseclient import SSEClient


def show(**fields):
    print(json.dumps(fields), flush=True)


def follow(url):
    last, retry = "", 3.0
    while True:
        request = urllib.request.Request(url, headers={"Accept": "text/event-stream"})
        if last:
            request.add_header("Last-Event-ID", last)
        try:
            with urllib.request.urlopen(request) as response:
                if response.status != 200:
                    show(state="closed", code=response.status)
                    return
                show(state="open")
                for event in SSEClient(response).events():
                    last = event.id if event.id is not None else last
                    retry = int(event.retry) / 1000 if event.retry else retry
                    show(id=last, event=event.event, data=event.data)
        except urllib.error.HTTPError as error:
            show(state="closed", code=error.code)
            return
        except OSError:
            pass
        except Exception as error:  # http.client raises an error of its own for a cut chunk.
            show(state="cut", code=type(error).__name__)
        show(state="connecting", code=None)
        time.sleep(retry)


follow(sys.argv[1])
