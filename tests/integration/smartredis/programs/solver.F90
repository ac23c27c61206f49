! A solver in Fortran: puts a field, stores a model and a script, runs both, and checks what comes back.
program solver
  use smartredis_client, only : client_type
  use iso_c_binding, only : c_float
  implicit none

  type(client_type) :: client
  real(kind=c_float), dimension(2, 3) :: x, y, z
  character(len=255) :: model_file
  integer :: i, j

  call get_command_argument(1, model_file)
  do j = 1, 3
    do i = 1, 2
      x(i, j) = 10 * i + j
    end do
  end do
  call must(client%initialize('fortran'), 'connecting')
  call must(client%put_tensor('x', x, shape(x)), 'put_tensor')
  call must(client%set_model_from_file('m', trim(model_file), 'TORCH', 'CPU'), 'set_model_from_file')
  call must(client%run_model('m', ['x', 'x'], ['y']), 'run_model')
  call must(client%unpack_tensor('y', y, shape(y)), 'unpack_tensor')
  call must(client%set_script('s', 'CPU', 'def triple(x):' // new_line('a') // '    return 3 * x' // new_line('a')), &
            'set_script')
  call must(client%run_script('s', 'triple', ['x'], ['z']), 'run_script')
  call must(client%unpack_tensor('z', z, shape(z)), 'unpack_tensor')
  if (any(y /= 2 * x)) error stop 'the model answered wrongly'
  if (any(z /= 3 * x)) error stop 'the script answered wrongly'
  if (client%run_model('missing', ['x', 'x'], ['y']) == 0) error stop 'a model that is not there ran'
  call must(client%destructor(), 'leaving')
  print '(a)', 'all answers are right'

contains

  subroutine must(found, what)
    integer, intent(in) :: found
    character(len=*), intent(in) :: what
    if (found == 0) return
    print '(a, a)', what, ' failed'
    error stop 1
  end subroutine must

end program solver
