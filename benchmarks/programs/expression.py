# The value of an arithmetic expression with + - * and parentheses, modulo 10^9 + 7, by recursive descent.
import re
import sys

sys.setrecursionlimit(20000)
MOD = 10**9 + 7
tokens = re.findall(r"\d+|[-+*()]", input()) + ["end"]


class Parser:
    def __init__(self, tokens):
        self.tokens = tokens
        self.at = 0

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def total(self):
        value = self.product()
        while self.tokens[self.at] in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value % MOD

    def product(self):
        value = self.atom()
        while self.tokens[self.at] == "*":
            self.take()
            value = value * self.atom() % MOD
        return value

    def atom(self):
        token = self.take()
        if token == "(":
            value = self.total()
            self.take()
            return value
        return int(token)


print(Parser(tokens).total())
