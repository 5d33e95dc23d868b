"""What Ray Serve costs by itself: an application that takes a body and answers a line, until SIGINT."""

import signal
import socket
import sys
import threading

from fastapi import FastAPI, Request
from ray import serve
from starlette.responses import Response

from plantain.deploy.ray.service import ray_for_serve

api = FastAPI()


@serve.deployment(ray_actor_options={"num_cpus": 0})
@serve.ingress(api)
class Bare:
    """The application."""

    @api.post("/")
    async def answer(self, request: Request) -> Response:
        """Says how long the body is."""
        return Response(str(len(await request.body())))


def main() -> None:
    """Serves, with the settings of `plantain serve`."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ray_for_serve(None, "127.0.0.1"):
        quiet = {"log_level": "ERROR", "enable_access_log": False}
        serve.start(
            proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port}, logging_config=quiet
        )
        serve.run(Bare.bind(), name="bare", route_prefix="/", logging_config=quiet)
        sys.stdout.write(f"ready on http://127.0.0.1:{port}\n")
        sys.stdout.flush()
        stop.wait()
        serve.shutdown()


if __name__ == "__main__":
    main()
