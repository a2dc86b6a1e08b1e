"""The smallest flow: one step, called with a value, giving one back."""

from flow_core import Flow, Step, run


async def main() -> None:
    async with Flow() as flow:
        await flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
        print(await flow.call("greet", "world"))


if __name__ == "__main__":
    run(main())
