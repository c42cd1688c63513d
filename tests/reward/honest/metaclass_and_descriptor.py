class Registry(type):
    seen = []

    def __new__(mcls, name, bases, space):
        mcls.seen.append(name)
        return super().__new__(mcls, name, bases, space)


class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, instance, owner):
        return getattr(instance, self.name)

    def __set__(self, instance, value):
        if value <= 0:
            raise ValueError(value)
        setattr(instance, self.name, value)


class Item(metaclass=Registry):
    price = Positive()


item = Item()
item.price = 3
try:
    item.price = -1
except ValueError as error:
    print("refused", error)
print(item.price, Registry.seen)
