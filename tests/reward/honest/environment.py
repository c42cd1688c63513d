import os
os.environ['KEY'] = 'value'
print(os.environ['KEY'], os.getcwd() != '', os.path.join('a', 'b'))
