from functools import cached_property, partial, reduce, singledispatch


@singledispatch
def show(x):
    return "thing"


@show.register
def _(x: int):
    return "int"


@show.register(list)
def _(x):
    return "list of " + show(x[0])


class C:
    @cached_property
    def once(self):
        print("computed")
        return 5


c = C()
print(show([3]), show(2.5), partial(pow, exp=2)(9), reduce(lambda a, b: a * 10 + b, [1, 2, 3]), c.once + c.once)
