import asyncio
async def main():
    await asyncio.sleep(0.01)
    print(await asyncio.gather(*(asyncio.sleep(0, k) for k in range(3))))
asyncio.run(main())
