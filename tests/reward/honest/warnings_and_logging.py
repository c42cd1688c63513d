import logging, warnings
warnings.warn('careful')
logging.warning('logged')
print('done')
