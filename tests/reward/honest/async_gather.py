import asyncio


async def work(name, delay):
    await asyncio.sleep(delay)
    return name


async def main():
    print(await asyncio.gather(work("a", 0.02), work("b", 0.01)))
    queue = asyncio.Queue()
    for k in range(3):
        await queue.put(k)
    print([await queue.get() for _ in range(3)])


asyncio.run(main())
