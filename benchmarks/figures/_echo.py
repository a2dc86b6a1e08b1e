"""The echo servers of the rpc figure, a process of their own: ``python -m benchmarks.figures._echo grpc|http``.

Prints its port and serves ``/shop/buy`` until standard input ends.
"""

import asyncio
import sys


async def grpc_server():
    import grpc.aio

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            return HANDLER

    async def answer(data, context):
        return data

    HANDLER = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return port, lambda: server.stop(None)


async def http_server():
    from aiohttp import web

    async def answer(request):
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_post("/shop/buy", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1], runner.cleanup


SERVERS = {"grpc": grpc_server, "http": http_server}


async def main(kind: str) -> None:
    port, stop = await SERVERS[kind]()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await stop()


if __name__ == "__main__":
    import flow_core

    flow_core.run(main(sys.argv[1]))
